"""The synthetic set: walkers in lanes, seven kinds of anomaly, and the truth to the pixel.

A scene and a video of it are functions of four numbers; NumPy is all they need. Letters: F frames,
H W C of a frame, R rows of tracks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vad_jax.datasets.synthetic.rendering import draw
from vad_jax.datasets.synthetic.scene import make_scene
from vad_jax.datasets.synthetic.things import anomaly, traffic

TRAIN, TEST, HELD_OUT, STREAM = range(4)  # splits, as they enter the seed
FPS = 10.0
ROTA = (("fast", "appear"), ("wrong_way",), ("big",), ("shape",), ("stop",), ("zigzag",))

DRIFT = 0.05  # of the light in 100 frames, at most
# Multiples of irrational numbers, taken modulo one, fill the unit square evenly, however many:
# in few videos as in many, starts of anomalies and drifts of light neither cluster nor agree.
STEPS = np.array(((5**0.5 - 1) / 2, 2**0.5 - 1))


@dataclass(frozen=True)
class SyntheticVideo:
    """One video and its truth.

    Attributes:
      frames: uint8 `[F, H, W, C]`.
      masks: bool `[F, H, W]`, pixels of anomalies.
      tracks: int64 `[R, 6]`, rows `track, frame, x0, y0, x1, y1`; 0-based, inclusive.
      kinds: the kind of each track.
    """

    frames: np.ndarray
    masks: np.ndarray
    tracks: np.ndarray
    kinds: tuple[str, ...]


def video(
    seed: int,
    scene: int,
    split: int,
    index: int,
    *,
    frames: int = 120,
    height: int = 64,
    width: int = 64,
    channels: int = 1,
    kinds: tuple[str, ...] | None = None,
) -> SyntheticVideo:
    """One video of a scene; the same for the same numbers, whatever else is made.

    Args:
      seed, scene, split, index: whole numbers that say which; splits are `TRAIN`, `TEST`,
        `HELD_OUT` and `STREAM`.
      frames: F; at least 40 where there are anomalies.
      height, width, channels: of a frame; objects and speeds scale with the shorter side.
      kinds: anomalies to show, of `KINDS`. By default `TEST` videos take their turn of `ROTA` and
        the others have none.
    """
    if kinds is None:
        kinds = ROTA[(scene + index) % len(ROTA)] if split == TEST else ()
    rng = np.random.default_rng(np.random.SeedSequence([seed, scene, split, index]))
    place = make_scene(seed, scene, height=height, width=width, channels=channels)
    even, light = (place.turn + index * STEPS) % 1
    things = list(traffic(rng, place, frames))
    taken = np.zeros(frames, bool)
    for number, kind in enumerate(kinds):
        start = (even + number / len(kinds)) % 1
        sign = 1 - 2 * ((index // len(ROTA) + index + number) % 2)
        things.append(anomaly(rng, place, frames, kind, start, sign, taken))
        taken |= things[-1].truth
    drift = DRIFT * (2 * light - 1)
    drawn = draw(rng, place, things, frames, strange=len(kinds), drift=drift)
    return SyntheticVideo(*drawn, kinds=tuple(kinds))

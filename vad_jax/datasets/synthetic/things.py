"""What moves in a scene: walkers that keep their lane, and seven kinds of anomaly among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vad_jax.datasets.synthetic.scene import UNIT, Scene, lane_in_view, unit, walk
from vad_jax.types import DataError

KINDS = ("fast", "wrong_way", "big", "shape", "stop", "zigzag", "appear")
CONTRAST = (40, 55)  # grey levels between an object and the ground under it


class Thing(NamedTuple):
    """An object and its way through a video.

    Attributes:
      path: int64 `[F, 2]`, x and y of its middle, 1/16 pixel.
      half: int64 `[F, 2]`, half its width and height, 1/16 pixel; 0 = not there.
      contrast: grey levels above the ground.
      form: `ellipse`, `box` or `stripes`.
      truth: bool `[F]`, where it is an anomaly.
    """

    path: np.ndarray
    half: np.ndarray
    contrast: int
    form: str
    truth: np.ndarray


def traffic(rng: np.random.Generator, scene: Scene, frames: int) -> Iterator[Thing]:
    """Walkers that arrive at random and keep their lane, its speed and their distance.

    Args:
      rng: of their arrival, size and contrast.
      scene: the camera.
      frames: F.
    """
    for lane, speed in enumerate(scene.speeds):
        crossing = lane_in_view(scene, lane)[1] * UNIT / abs(speed)
        apart = 14 * scene.scale * 256 / abs(speed)
        mean = max(crossing * len(scene.speeds) / scene.crowd - apart, 1.0)
        sign = int(rng.choice((-1, 1)))
        start = -crossing + rng.exponential(mean)
        while start < frames:
            half = rng.uniform((1.7, 3.5), (2.3, 4.5)) * scene.scale * UNIT
            yield Thing(
                path=walk(scene, lane, np.arange(frames) - int(start), speed),
                half=np.broadcast_to(half.astype(np.int64), (frames, 2)),
                contrast=sign * int(rng.integers(*CONTRAST)),
                form="ellipse",
                truth=np.zeros(frames, bool),
            )
            start += apart + rng.exponential(mean)
            sign = -sign


def anomaly(
    rng: np.random.Generator,
    scene: Scene,
    frames: int,
    kind: str,
    even: float,
    sign: int,
    taken: np.ndarray,
) -> Thing:
    """An anomaly that begins where `even` says, between half in view and half over.

    Args:
      rng: of its lane, its contrast and its stay.
      scene: the camera.
      frames: F.
      kind: one of `KINDS`.
      even: 0 to 1, from the earliest start that is allowed to the latest.
      sign: 1 lighter than the ground, -1 darker.
      taken: bool `[F]`, frames of other anomalies, which it avoids where it can.

    Raises:
      DataError: an unknown kind.
    """
    lane = int(rng.integers(len(scene.speeds)))
    half, form = np.array((2, 4)) * scene.scale * UNIT, "ellipse"
    if kind == "big":
        half, form = half * 2.5, "box"
    elif kind == "shape":
        half, form = np.array((3, 3)) * scene.scale * UNIT, "stripes"
    speed = scene.speeds[lane]
    span = np.arange(-3 * frames, 3 * frames)
    path = walk(scene, lane, span, speed)
    size = np.broadcast_to(half.astype(np.int64), path.shape)
    strange = np.ones(len(span), bool)
    if kind == "fast":
        path = walk(scene, lane, span, 3 * speed)
    elif kind == "wrong_way":
        two_ways = min(scene.speeds) < 0 < max(scene.speeds)
        path = walk(scene, lane, span, abs(speed) if two_ways else -speed, turn=2 * two_ways)
    elif kind == "stop":
        stand = int(rng.integers(26, 41))
        walked = np.clip(span, None, 0) + np.clip(span - stand, 0, None)
        middle = int(lane_in_view(scene, lane)[1] * UNIT / abs(speed) * rng.uniform(0.35, 0.65))
        path = walk(scene, lane, walked + middle, speed)
        strange = (span >= 0) & (span < stand)
    elif kind == "zigzag":
        path = _zigzag(scene, lane, span, speed)
    elif kind == "appear":
        stay = int(rng.integers(26, 41))
        path = np.broadcast_to(_off_lane(rng, scene), path.shape)
        grown = np.clip(np.minimum(span + 1, stay - span), 0, 8)
        size = size * grown[:, None] // 8
    elif kind not in KINDS:
        raise DataError(f"No anomaly is called {kind!r}. Known are {', '.join(KINDS)}.")
    seen = strange & _in_view(scene, path, size)
    start = _start(seen, frames, even, taken)
    cut = slice(start, start + frames)
    return Thing(
        path=path[cut],
        half=size[cut],
        contrast=sign * int(rng.integers(*CONTRAST)),
        form=form,
        truth=strange[cut],
    )


def _start(seen: np.ndarray, frames: int, even: float, taken: np.ndarray) -> int:
    """Where to cut a video out of a life so that it shows a part, leaves a part, and both evenly.

    A cut is allowed if it shows at least 20 anomalous frames, or all there are, and leaves a fifth
    of the video normal. The allowed cuts lie the same way before and after the middle, so that a
    late frame is as likely anomalous as an early one.
    """
    total = np.concatenate([[0], np.cumsum(seen)])
    starts = np.arange(len(seen) - frames + 1)
    shown = total[starts + frames] - total[starts]
    least = min(20, frames // 3, seen.sum())
    allowed = starts[(shown >= least) & (shown <= frames - frames // 5)]
    apart = [s for s in allowed if not (seen[s : s + frames] & taken).any()]
    choice = apart or list(allowed)
    return int(choice[int(even * len(choice))])


def _zigzag(scene: Scene, lane: int, time: np.ndarray, speed: int) -> np.ndarray:
    """A walk at normal speed that turns by 90° every 6 frames, half left and half right."""
    straight = walk(scene, lane, time, int(speed * np.sqrt(0.5)))
    phase = np.mod(time, 12)
    sway = np.minimum(phase, 12 - phase) - 3
    across = np.rint(unit(scene.way + 2) * 1024).astype(np.int64)
    aside = sway * int(abs(speed) * np.sqrt(0.5)) // UNIT
    return straight + (aside[:, None] * across) // 1024


def _off_lane(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """A place in the image as far from all lanes as the best of 32 random ones."""
    edge = np.array(scene.size[::-1]) * UNIT
    places = rng.uniform(0.12, 0.88, (32, 2)) * edge
    across = (places - edge / 2) @ unit(scene.way + 2)
    far = np.abs(across[:, None] - np.array(scene.offsets)).min(axis=1)
    return np.rint(places[far.argmax()]).astype(np.int64)


def _in_view(scene: Scene, path: np.ndarray, half: np.ndarray) -> np.ndarray:
    edge = np.array(scene.size[::-1]) * UNIT
    near = (path + half > UNIT) & (path - half < edge - UNIT) & (half >= UNIT // 2)
    return near.all(axis=1)

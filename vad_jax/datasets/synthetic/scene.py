"""A scene of the synthetic set: its ground, its light and the lanes in which people walk.

Places are integers in 1/16 pixel, speeds in 1/256 pixel a frame. Letters: F frames, H W C of one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

UNIT = 16  # places a pixel
DIRECTIONS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))


class Scene(NamedTuple):
    """What belongs to a camera rather than to a video.

    Attributes:
      ground: float64 `[H, W, C]`, grey levels of the empty scene.
      way: index of the main direction.
      offsets: of the lanes' middles from the image's, across the way, 1/16 pixel.
      speeds: of the lanes, 1/256 pixel a frame, negative against the main direction.
      crowd: walkers at once, on average.
      size: of a frame (H, W).
      turn: float64 `[2]`, where its videos begin in the sequence of starts and drifts.
    """

    ground: np.ndarray
    way: int
    offsets: tuple[int, ...]
    speeds: tuple[int, ...]
    crowd: float
    size: tuple[int, int]
    turn: np.ndarray

    @property
    def scale(self) -> float:
        """Pixels for one pixel of a 64x64 frame."""
        return min(self.size) / 64


def make_scene(seed: int, scene: int, *, height: int, width: int, channels: int) -> Scene:
    """The camera of a scene: ground, light and lanes."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, scene]))
    turn = rng.random(2)
    y = (np.arange(height)[:, None] + 0.5) / height
    x = (np.arange(width)[None, :] + 0.5) / width
    waves = np.zeros((height, width))
    for _ in range(6):
        across, down = rng.uniform(-2.5, 2.5, 2)
        waves += np.cos(2 * np.pi * (across * x + down * y + rng.random()))
    for _ in range(rng.integers(4, 9)):
        left, top, wide, high = rng.uniform((0, 0, 0.1, 0.1), (0.9, 0.9, 0.4, 0.4))
        inside = (x >= left) & (x < left + wide) & (y >= top) & (y < top + high)
        waves = np.where(inside, rng.uniform(-3, 3), waves)
    ground = 110 + 50 * np.tanh(waves / 4)
    lean = rng.uniform(-0.15, 0.15, 2) * rng.integers(0, 2)
    ground = ground * rng.uniform(0.6, 1.3) * (1 + lean[0] * (x - 0.5) + lean[1] * (y - 0.5))
    gains = rng.uniform(0.85, 1.15, 3) if channels == 3 else np.ones(channels)
    way, lanes, ways = rng.integers(0, 8), rng.integers(2, 5), rng.integers(1, 3)
    reach = 0.62 * min(height, width) * UNIT
    offsets = ((np.arange(lanes) + 0.5) / lanes - 0.5) * reach
    speeds = rng.uniform(0.5, 1.2, lanes) * 256 * min(height, width) / 64
    speeds = speeds * np.where(np.arange(lanes) % ways == 0, 1, -1)
    return Scene(
        ground=ground[..., None] * gains,
        way=int(way),
        offsets=tuple(int(o) for o in offsets),
        speeds=tuple(int(s) for s in speeds),
        crowd=float(rng.uniform(3, 6)),
        size=(height, width),
        turn=turn,
    )


def unit(way: int) -> np.ndarray:
    """A direction of length one, float64 `[2]`; `way` counts eighths of a turn."""
    direction = np.array(DIRECTIONS[way % 8], float)
    return direction / np.sqrt((direction**2).sum())


def lane_in_view(scene: Scene, lane: int) -> tuple[np.ndarray, int]:
    """The middle of the part of a lane that lies in the image, int64 `[2]`, and its length.

    The length has room for a walker to enter and to leave; both in 1/16 pixel.
    """
    along, edge = unit(scene.way), np.array(scene.size[::-1]) * UNIT
    middle = edge / 2 + unit(scene.way + 2) * scene.offsets[lane]
    moving = np.abs(along) > 0.1
    pace = np.abs(along[moving])
    ahead = (np.where(along > 0, edge - middle, middle)[moving] / pace).min()
    behind = (np.where(along > 0, middle, edge - middle)[moving] / pace).min()
    centre = np.rint(middle + along * (ahead - behind) / 2).astype(np.int64)
    return centre, int(ahead + behind + 10 * scene.scale * UNIT)


def walk(scene: Scene, lane: int, time: np.ndarray, speed: int, *, turn: int = 0) -> np.ndarray:
    """Places `[F, 2]` of who enters at time 0 and crosses the image along a lane, turned by 45°s.

    Walkers are half-way at the lane's middle in view, whichever way they go.
    """
    centre, length = lane_in_view(scene, lane)
    distance = (time.astype(np.int64) * abs(speed)) // UNIT - length // 2
    forward = unit(scene.way + turn) * (1 if speed > 0 else -1)
    velocity = np.rint(forward * 1024).astype(np.int64)
    return centre + (distance[:, None] * velocity) // 1024

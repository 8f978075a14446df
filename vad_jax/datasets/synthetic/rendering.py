"""A scene and what moves in it, drawn: grey levels and the truth to the pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vad_jax.datasets.synthetic.scene import UNIT, Scene
from vad_jax.datasets.synthetic.things import Thing


def draw(
    rng: np.random.Generator,
    scene: Scene,
    things: Sequence[Thing],
    frames: int,
    *,
    strange: int,
    drift: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames uint8 `[F, H, W, C]`, masks bool `[F, H, W]` and tracks int64 `[R, 6]` of a video.

    Args:
      rng: of the noise.
      scene: the camera.
      things: what is seen, the last drawn on top.
      frames: F.
      strange: how many of the last things are anomalies; tracks count those from 0.
      drift: of the light in 100 frames, as a share of it.
    """
    height, width, channels = scene.ground.shape
    film = np.empty((frames, height, width, channels), np.uint8)
    masks = np.zeros((frames, height, width), bool)
    tracks = []
    for t in range(frames):
        light = 1 + drift * (t - frames / 2) / 100
        ground = np.rint(np.clip(scene.ground * light, 40, 200)).astype(np.int64)
        canvas = ground.copy()
        for number, thing in enumerate(things, start=strange - len(things)):
            covered = _coverage(scene, thing, t)
            if covered is None:
                continue
            area, part = covered
            colour = ground[area] + thing.contrast * _pattern(scene, thing, t, area)[..., None]
            part = part[..., None]
            canvas[area] = (canvas[area] * (16 - part) + colour * part + 8) // 16
            solid = part[..., 0] >= 8
            if number >= 0 and thing.truth[t] and solid.any():
                masks[(t, *area)] |= solid
                rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
                top, left = area[0].start, area[1].start
                box = (left + columns[0], top + rows[0], left + columns[-1], top + rows[-1])
                tracks.append((number, t, *box))
        noise = np.rint(2 * rng.standard_normal(canvas.shape)).astype(np.int64)
        film[t] = np.clip(canvas + noise, 0, 255)
    tracks.sort()
    return film, masks, np.array(tracks, np.int64).reshape(-1, 6)


def _coverage(scene: Scene, thing: Thing, t: int) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Sixteenths of each pixel that a thing covers, in the rectangle of pixels that it may touch.

    Counted on 4x4 points a pixel.
    """
    (x, y), (a, b) = thing.path[t], thing.half[t]
    left, right = max((x - a) // UNIT, 0), min((x + a) // UNIT + 1, scene.size[1])
    top, bottom = max((y - b) // UNIT, 0), min((y + b) // UNIT + 1, scene.size[0])
    if a <= 0 or b <= 0 or left >= right or top >= bottom:
        return None
    dx = (np.arange(4 * left, 4 * right) * 4 + 2 - x)[None, :]
    dy = (np.arange(4 * top, 4 * bottom) * 4 + 2 - y)[:, None]
    if thing.form == "ellipse":
        inside = (dx * b) ** 2 + (dy * a) ** 2 <= (a * b) ** 2
    else:
        inside = (np.abs(dx) <= a) & (np.abs(dy) <= b)
    points = inside.reshape(bottom - top, 4, right - left, 4)
    return (slice(top, bottom), slice(left, right)), points.sum((1, 3))


def _pattern(scene: Scene, thing: Thing, t: int, area: tuple[slice, slice]) -> np.ndarray:
    """Signs that a thing's contrast takes in its rectangle: stripes 2 pixels wide, or 1."""
    top, left = area[0].start, area[1].start
    shape = (area[0].stop - top, area[1].stop - left)
    if thing.form != "stripes":
        return np.ones(shape, np.int64)
    wide = max(int(2 * scene.scale), 1)
    columns = left + np.arange(shape[1]) - (thing.path[t, 0] - thing.half[t, 0]) // UNIT
    return np.broadcast_to(1 - 2 * (columns // wide % 2), shape)

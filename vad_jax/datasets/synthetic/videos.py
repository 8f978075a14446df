"""The synthetic set: walkers in lanes, seven kinds of anomaly, and the truth to the pixel.

A scene and a video of it are functions of four numbers; NumPy is all they need. Places are
integers in 1/16 pixel, speeds in 1/256 pixel a frame. Letters: F frames, H W C of a frame,
R rows of tracks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vad_jax.types import DataError

TRAIN, TEST, HELD_OUT, STREAM = range(4)  # splits, as they enter the seed
FPS = 10.0
KINDS = ("fast", "wrong_way", "big", "shape", "stop", "zigzag", "appear")
ROTA = (("fast", "appear"), ("wrong_way",), ("big",), ("shape",), ("stop",), ("zigzag",))

UNIT = 16  # places a pixel
DIRECTIONS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
DRIFT = 0.05  # of the light in 100 frames, at most
CONTRAST = (40, 55)  # grey levels between an object and the ground under it
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
    things = list(_traffic(rng, place, frames))
    taken = np.zeros(frames, bool)
    for number, kind in enumerate(kinds):
        start = (even + number / len(kinds)) % 1
        sign = 1 - 2 * ((index // len(ROTA) + index + number) % 2)
        things.append(_anomaly(rng, place, frames, kind, start, sign, taken))
        taken |= things[-1].truth
    return _draw(rng, place, things, frames, kinds, drift=DRIFT * (2 * light - 1))


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


def _traffic(rng: np.random.Generator, scene: Scene, frames: int) -> Iterator[Thing]:
    """Walkers that arrive at random and keep their lane, its speed and their distance."""
    for lane, speed in enumerate(scene.speeds):
        crossing = _lane(scene, lane)[1] * UNIT / abs(speed)
        apart = 14 * scene.scale * 256 / abs(speed)
        mean = max(crossing * len(scene.speeds) / scene.crowd - apart, 1.0)
        sign = int(rng.choice((-1, 1)))
        start = -crossing + rng.exponential(mean)
        while start < frames:
            half = rng.uniform((1.7, 3.5), (2.3, 4.5)) * scene.scale * UNIT
            yield Thing(
                path=_walk(scene, lane, np.arange(frames) - int(start), speed),
                half=np.broadcast_to(half.astype(np.int64), (frames, 2)),
                contrast=sign * int(rng.integers(*CONTRAST)),
                form="ellipse",
                truth=np.zeros(frames, bool),
            )
            start += apart + rng.exponential(mean)
            sign = -sign


def _anomaly(
    rng: np.random.Generator,
    scene: Scene,
    frames: int,
    kind: str,
    even: float,
    sign: int,
    taken: np.ndarray,
) -> Thing:
    """An anomaly that begins where `even` (0 to 1) says, between half in view and half over."""
    lane = int(rng.integers(len(scene.speeds)))
    half, form = np.array((2, 4)) * scene.scale * UNIT, "ellipse"
    if kind == "big":
        half, form = half * 2.5, "box"
    elif kind == "shape":
        half, form = np.array((3, 3)) * scene.scale * UNIT, "stripes"
    speed = scene.speeds[lane]
    span = np.arange(-3 * frames, 3 * frames)
    path = _walk(scene, lane, span, speed)
    size = np.broadcast_to(half.astype(np.int64), path.shape)
    strange = np.ones(len(span), bool)
    if kind == "fast":
        path = _walk(scene, lane, span, 3 * speed)
    elif kind == "wrong_way":
        two_ways = min(scene.speeds) < 0 < max(scene.speeds)
        path = _walk(scene, lane, span, abs(speed) if two_ways else -speed, turn=2 * two_ways)
    elif kind == "stop":
        stand = int(rng.integers(26, 41))
        walked = np.clip(span, None, 0) + np.clip(span - stand, 0, None)
        middle = int(_lane(scene, lane)[1] * UNIT / abs(speed) * rng.uniform(0.35, 0.65))
        path = _walk(scene, lane, walked + middle, speed)
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


def _unit(way: int) -> np.ndarray:
    direction = np.array(DIRECTIONS[way % 8], float)
    return direction / np.sqrt((direction**2).sum())


def _lane(scene: Scene, lane: int) -> tuple[np.ndarray, int]:
    """The middle of the part of a lane that lies in the image, int64 `[2]`, and its length.

    The length has room for a walker to enter and to leave; both in 1/16 pixel.
    """
    along, edge = _unit(scene.way), np.array(scene.size[::-1]) * UNIT
    middle = edge / 2 + _unit(scene.way + 2) * scene.offsets[lane]
    moving = np.abs(along) > 0.1
    pace = np.abs(along[moving])
    ahead = (np.where(along > 0, edge - middle, middle)[moving] / pace).min()
    behind = (np.where(along > 0, middle, edge - middle)[moving] / pace).min()
    centre = np.rint(middle + along * (ahead - behind) / 2).astype(np.int64)
    return centre, int(ahead + behind + 10 * scene.scale * UNIT)


def _walk(scene: Scene, lane: int, time: np.ndarray, speed: int, *, turn: int = 0) -> np.ndarray:
    """Places `[F, 2]` of who enters at time 0 and crosses the image along a lane, turned by 45°s.

    Walkers are half-way at the lane's middle in view, whichever way they go.
    """
    centre, length = _lane(scene, lane)
    distance = (time.astype(np.int64) * abs(speed)) // UNIT - length // 2
    forward = _unit(scene.way + turn) * (1 if speed > 0 else -1)
    velocity = np.rint(forward * 1024).astype(np.int64)
    return centre + (distance[:, None] * velocity) // 1024


def _zigzag(scene: Scene, lane: int, time: np.ndarray, speed: int) -> np.ndarray:
    """A walk at normal speed that turns by 90° every 6 frames, half left and half right."""
    straight = _walk(scene, lane, time, int(speed * np.sqrt(0.5)))
    phase = np.mod(time, 12)
    sway = np.minimum(phase, 12 - phase) - 3
    across = np.rint(_unit(scene.way + 2) * 1024).astype(np.int64)
    aside = sway * int(abs(speed) * np.sqrt(0.5)) // UNIT
    return straight + (aside[:, None] * across) // 1024


def _off_lane(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """A place in the image as far from all lanes as the best of 32 random ones."""
    edge = np.array(scene.size[::-1]) * UNIT
    places = rng.uniform(0.12, 0.88, (32, 2)) * edge
    across = (places - edge / 2) @ _unit(scene.way + 2)
    far = np.abs(across[:, None] - np.array(scene.offsets)).min(axis=1)
    return np.rint(places[far.argmax()]).astype(np.int64)


def _in_view(scene: Scene, path: np.ndarray, half: np.ndarray) -> np.ndarray:
    edge = np.array(scene.size[::-1]) * UNIT
    near = (path + half > UNIT) & (path - half < edge - UNIT) & (half >= UNIT // 2)
    return near.all(axis=1)


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


def _draw(
    rng: np.random.Generator,
    scene: Scene,
    things: list[Thing],
    frames: int,
    kinds: tuple[str, ...],
    *,
    drift: float,
) -> SyntheticVideo:
    height, width, channels = scene.ground.shape
    film = np.empty((frames, height, width, channels), np.uint8)
    masks = np.zeros((frames, height, width), bool)
    tracks = []
    for t in range(frames):
        light = 1 + drift * (t - frames / 2) / 100
        ground = np.rint(np.clip(scene.ground * light, 40, 200)).astype(np.int64)
        canvas = ground.copy()
        for number, thing in enumerate(things, start=len(kinds) - len(things)):
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
    return SyntheticVideo(film, masks, np.array(tracks, np.int64).reshape(-1, 6), tuple(kinds))


def _pattern(scene: Scene, thing: Thing, t: int, area: tuple[slice, slice]) -> np.ndarray:
    """Signs that a thing's contrast takes in its rectangle: stripes 2 pixels wide, or 1."""
    top, left = area[0].start, area[1].start
    shape = (area[0].stop - top, area[1].stop - left)
    if thing.form != "stripes":
        return np.ones(shape, np.int64)
    wide = max(int(2 * scene.scale), 1)
    columns = left + np.arange(shape[1]) - (thing.path[t, 0] - thing.half[t, 0]) // UNIT
    return np.broadcast_to(1 - 2 * (columns // wide % 2), shape)

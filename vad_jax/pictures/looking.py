"""Chosen frames scored and drawn, in batches: their error maps and what the method shows of them.

All is drawn with the trained state, not with a state that test frames have moved.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax.data.frames import Frames
from vad_jax.data.spans import frame_indices
from vad_jax.detector import Detector
from vad_jax.scoring import compiled
from vad_jax.types import Batch, InputSpec, Picture

TOGETHER = 8  # windows that are drawn at once

Place = tuple[int, int]  # video and frame


def pictures_of(
    detector: Detector, videos: Sequence[Frames], places: Sequence[Place]
) -> Iterator[dict[str, Picture]]:
    """What the method shows of frames.

    Args:
      detector: its method and variables.
      videos: decoded, each with a window at least.
      places: video and frame of each.

    Yields:
      For each place the method's pictures by name, `target` first, images `[h, w, c]`.
    """
    draw = _drawing(detector.method.pictures)
    for batch, reached in _batches(detector.method.inputs, videos, places):
        drawn = jax.device_get(draw(detector.variables, batch))
        for row, offset in enumerate(reached):
            names = sorted(drawn, key=lambda name: name != "target")  # jit has sorted them
            yield {name: _one(drawn[name], row, offset) for name in names}


def maps_of(
    detector: Detector, videos: Sequence[Frames], places: Sequence[Place]
) -> Iterator[np.ndarray | None]:
    """The error maps of frames, float32 `[h, w]`; None if the method has none.

    Arguments as `pictures_of`'s; each window is scored with the carry of a new stream.
    """
    method, variables = detector.method, detector.variables
    carried = method.carry_over != "none"  # then every window is a stream of its own
    score, start = compiled(method, maps=True, streams=carried), method.start(variables)
    if carried:
        start = jax.tree.map(lambda leaf: jnp.stack([leaf] * TOGETHER), start)
    for batch, reached in _batches(method.inputs, videos, places):
        given = jax.tree.map(lambda leaf: leaf[:, None], batch) if carried else batch
        maps = jax.device_get(score(variables, start, given)[1].maps)
        for row, offset in enumerate(reached):
            own = (row, 0, offset) if carried else (row, offset)
            yield None if maps is None else np.asarray(maps[own], np.float32)


@functools.lru_cache(maxsize=4)
def _drawing(pictures: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(pictures)


def _one(picture: Picture, row: int, offset: int) -> Picture:
    return replace(picture, image=np.asarray(picture.image)[row, offset])


def _batches(
    spec: InputSpec, videos: Sequence[Frames], places: Sequence[Place]
) -> Iterator[tuple[Batch, list[int]]]:
    """Batches of the windows that score frames best in their middle; of each its frame's offset."""
    middle = spec.scored[len(spec.scored) // 2]
    for begin in range(0, len(places), TOGETHER):
        some = places[begin : begin + TOGETHER]
        filled = [*some, *[some[0]] * (TOGETHER - len(some))]  # one shape, one program
        first = [
            int(np.clip(frame - spec.stride * middle, 0, len(videos[video]) - spec.span))
            for video, frame in filled
        ]
        clips = [
            videos[video].read(frame_indices(spec, start))
            for (video, _), start in zip(filled, first, strict=True)
        ]
        batch = {
            "frames": np.stack(clips),
            "mask": np.arange(TOGETHER) < len(some),
            "video": np.array([video for video, _ in filled], np.int32),
            "frame": np.array(first, np.int32),
        }
        scored = spec.stride * np.asarray(spec.scored)
        reached = [
            int(np.argmin(np.abs(scored + start - frame)))
            for (_, frame), start in zip(some, first, strict=False)
        ]
        yield batch, reached

"""Rows that are episodes: windows of a video to adapt on, others of the same to be judged by.

A row is int32 `[1 + K + Q]`: its video, the first frames of its K support and of its Q query
windows; -1 stands for a window that a short video has not got. Letters as in `rows` and `spans`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from vad_jax.data.footage import Footage
from vad_jax.data.rows import Rows, pack, rounds, whole_batches
from vad_jax.data.spans import apart, frame_indices, segments_of, starts
from vad_jax.types import Batch, EpisodeSpec, InputSpec

_HELD_OUT = 8  # episodes of each video where a loss is only measured


def batches(
    spec: InputSpec, footage: Footage, *, batch_size: int, seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
    """One epoch: episodes of every video that has one, in an order of its own each round and epoch.

    There are as many rounds as make about as many windows as the videos have.

    Returns:
      rows int32 `[N, B, 1 + K + Q]` and mask bool `[N, B]`; what does not fill a last batch is
      left to the other epochs, unless there is not even one batch.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    firsts = _firsts(spec, footage)
    able = [i for i, first in enumerate(firsts) if _draw(spec, first, rng) is not None]
    number = sum(len(firsts[i]) for i in able)
    taken = len(able) * (spec.row.support + spec.row.query)
    drawn = [_round(spec, firsts, rng.permutation(able), rng) for _ in range(rounds(number, taken))]
    return whole_batches(np.concatenate([_none(spec), *drawn]), batch_size)


def in_order(
    spec: InputSpec, footage: Footage, *, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Eight episodes of every video that has one, the same each time; the last batch is padded."""
    rng = np.random.default_rng(0)
    firsts = _firsts(spec, footage)
    able = [i for i, first in enumerate(firsts) if _draw(spec, first, rng) is not None]
    drawn = [_round(spec, firsts, able, rng) for _ in range(_HELD_OUT)]
    return pack(np.concatenate([_none(spec), *drawn]), batch_size)


def fits(spec: InputSpec, footage: Footage, video: int) -> bool:
    """Whether a video has an episode, be it with fewer windows than asked for."""
    first = starts(spec, footage.lengths[video], footage.broken[video])
    return _draw(spec, first, np.random.default_rng(0)) is not None


def need(spec: InputSpec) -> str:
    """What a video must have for a row, in words."""
    if spec.row.segments:
        each = spec.row.support + spec.row.query
        return (
            f"{spec.row.segments * each} windows of {spec.span} whole frames, {each} for each of "
            f"its {spec.row.segments} segments"
        )
    return f"two windows of {spec.span} whole frames that share none"


def indices(spec: InputSpec, footage: Footage, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The frames of rows `[B, 1 + K + Q]`: `[B, K + Q, L]`."""
    return {"frames": frame_indices(spec, rows[:, 1:])}


def batch(spec: InputSpec, taken: dict[str, Any], rows: Any, mask: Any) -> Batch:
    """`support` `[B, K, L, H, W, C]`, `query` `[B, Q, …]`, their masks, and what all rows have."""
    frames, support = taken["frames"], spec.row.support
    there = jnp.logical_and(rows[:, 1:] >= 0, mask[:, None])
    return {
        "support": frames[:, :support],
        "query": frames[:, support:],
        "support_mask": there[:, :support],
        "query_mask": there[:, support:],
        "mask": mask,
        "video": rows[:, 0],
        "frame": rows[:, 1],
    }


ROWS = Rows(
    batches=batches,
    in_order=in_order,
    fits=fits,
    need=need,
    indices=indices,
    batch=batch,
)


def _firsts(spec, footage):
    return [starts(spec, *video) for video in zip(footage.lengths, footage.broken, strict=True)]


def _none(spec):
    return np.empty((0, 1 + spec.row.support + spec.row.query), np.int32)


def _round(spec, firsts, videos, rng):
    drawn = [np.append(video, _draw(spec, firsts[video], rng)) for video in videos]
    return np.array(drawn, np.int32).reshape(-1, _none(spec).shape[1])


def _draw(spec: InputSpec, first: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """First frames of an episode's windows `[K + Q]` out of those of a video; None: it has none."""
    episode = spec.row
    if episode.segments:
        return _from_one_segment(episode, first, rng)
    for support in range(min(episode.support, len(first) - 1), 0, -1):
        places = rng.permutation(len(first) - support + 1)
        for begin in places:
            chosen = first[begin : begin + support]
            others = apart(spec, first, chosen)
            if not len(others):
                continue
            query = rng.permutation(others)[: episode.query]
            drawn = np.full(episode.support + episode.query, -1, np.int32)
            drawn[:support] = chosen
            drawn[episode.support : episode.support + len(query)] = query
            return drawn
    return None


def _from_one_segment(episode: EpisodeSpec, first: np.ndarray, rng) -> np.ndarray | None:
    """All windows from one of the video's segments, at different places."""
    segments, number = segments_of(first, episode.segments), episode.support + episode.query
    if segments.shape[1] < number:
        return None
    segment = segments[rng.integers(len(segments))]
    return rng.choice(segment, number, replace=False).astype(np.int32)

"""Episodes: windows of a video to adapt on, and others of the same video to be judged by.

Pure functions like those of `windows`. A row is int32 `[1 + K + Q]`: the video, the first frames
of its K support and of its Q query windows; -1 stands for a window that a short video has not got.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from vad_jax.data.windows import apart, pack, rounds, segment_starts, starts
from vad_jax.types import EpisodeSpec, InputSpec

_HELD_OUT = 8  # episodes of each video where a loss is only measured

Broken = Sequence[Collection[int]] | None


def batches(
    spec: InputSpec,
    lengths: Sequence[int],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    broken: Broken = None,
) -> tuple[np.ndarray, np.ndarray]:
    """One epoch: episodes of every video that has one, in an order of its own each round and epoch.

    There are as many rounds as make about as many windows as the videos have.

    Returns:
      rows int32 `[N, B, 1 + K + Q]` and mask bool `[N, B]`; what does not fill a last batch is
      left to the other epochs, unless there is not even one batch.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    firsts = _firsts(spec, lengths, broken)
    able = [i for i, first in enumerate(firsts) if _draw(spec, first, rng) is not None]
    number = sum(len(firsts[i]) for i in able)
    taken = len(able) * (spec.episode.support + spec.episode.query)
    drawn = [_round(spec, firsts, rng.permutation(able), rng) for _ in range(rounds(number, taken))]
    every = np.concatenate([_none(spec), *drawn])
    if len(every) >= batch_size:
        every = every[: len(every) // batch_size * batch_size]
    return pack(every, batch_size)


def in_order(
    spec: InputSpec, lengths: Sequence[int], *, batch_size: int, broken: Broken = None
) -> tuple[np.ndarray, np.ndarray]:
    """Eight episodes of every video that has one, the same each time; the last batch is padded."""
    rng = np.random.default_rng(0)
    firsts = _firsts(spec, lengths, broken)
    able = [i for i, first in enumerate(firsts) if _draw(spec, first, rng) is not None]
    drawn = [_round(spec, firsts, able, rng) for _ in range(_HELD_OUT)]
    return pack(np.concatenate([_none(spec), *drawn]), batch_size)


def fits(spec: InputSpec, length: int, broken: Collection[int] = ()) -> bool:
    """Whether a video of so many frames has an episode, be it with fewer windows than asked for."""
    return _draw(spec, starts(spec, length, broken), np.random.default_rng(0)) is not None


def _firsts(spec, lengths, broken):
    broken = broken or [()] * len(lengths)
    return [starts(spec, *video) for video in zip(lengths, broken, strict=True)]


def _none(spec):
    return np.empty((0, 1 + spec.episode.support + spec.episode.query), np.int32)


def _round(spec, firsts, videos, rng):
    drawn = [np.append(video, _draw(spec, firsts[video], rng)) for video in videos]
    return np.array(drawn, np.int32).reshape(-1, _none(spec).shape[1])


def _draw(spec: InputSpec, first: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """First frames of an episode's windows `[K + Q]` out of those of a video; None: it has none."""
    episode = spec.episode
    if episode.draw == "published":
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
    """All windows from one of 32 segments, at different places. Source: MPN's published code."""
    segments, number = segment_starts(first), episode.support + episode.query
    if segments.shape[1] < number:
        return None
    segment = segments[rng.integers(len(segments))]
    return rng.choice(segment, number, replace=False).astype(np.int32)

"""How the parts of a score become one number a frame, higher = stranger.

The only place where parts are combined: evaluation, live and export share it. NumPy, float64.
What an operation list may say stands in `vad_jax.types.Fusion`; here is what it means.

`assign` gives the values of windows to frames, before all else: `mean`, a frame takes the mean of
the rows that score it; `ninth`, a row's mean to the ninth frame that it scores; `newest`, a row
gives only those of its frames that lie behind every frame that an earlier row scored. Rows that
are objects are not assigned: what stands before `reduce` is done to objects, `reduce` makes frames
of them: `max`, the largest of a frame's objects, NaN where there is none; `map`, the largest value
of the map that they are painted into, once a `filter` has averaged it over (frames, height, width)
in pixels of the source frame (`objects.py`).

`negate` turns a part, so that higher = stranger; direction comes before min–max, because a constant
part becomes 0, not strange. An operation that names no part acts on all values that exist at its
place in the list, parts and results alike. NaN stays NaN, except under `floor` and `reduce map`. An
axis of labels is carried through.

Letters: R rows, S frames that a row scores, K labels, F frames. Source: evaluation.md section 4;
mnad.md section 7; mpn.md (smoothing); ssmtl.md section 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from vad_jax.evaluation.assigning import Pairs, aligned, highest, inside, mean, pairs
from vad_jax.evaluation.fusion_check import assigned, becomes_frames, well_formed
from vad_jax.evaluation.operations import Operation, Values, sources
from vad_jax.evaluation.score_files import PROTOCOLS
from vad_jax.types import ConfigError, Fusion, VideoScores

Protocol = Literal["paper", "online"]
Frames = Mapping[str, np.ndarray | Sequence[np.ndarray]]  # part → `[F(, K)]` of a video or of each
Statistics = Mapping[str, Mapping[str, float]]


def fuse(
    fusion: Fusion,
    rows: VideoScores | Sequence[VideoScores] | Frames,
    statistics: Statistics | None,
    protocol: Protocol,
    *,
    result: str | None = None,
    smoothed: bool = True,
) -> Any:
    """One number a frame out of the parts of a score.

    Args:
      fusion: the operations.
      rows: of one video, or a list of them, one a video; or parts of frames, name → `[F]` (or
        `[F, K]`) of one video, or a list of such, which `assign`, `reduce` and `filter` leave as
        they are. In the paper's own units and direction, NaN = none. Parts may be absent: weights
        are renormalised over those given.
      statistics: part → `mean` and `std` on normal clips, of the part as it comes (a negated part
        is standardised with its mean negated); needed by `standardise` alone. A part with
        deviation 0 becomes 0.
      protocol: `paper` looks at the whole test video, `online` only at its past.
      result: which result; None is `fusion.default`.
      smoothed: False leaves `smooth` and `filter` out.

    Returns:
      Scores `[F]` (or `[F, K]`) of a single video, a list of them for a list; float64, higher =
      stranger, NaN = none.

    Raises:
      ConfigError: an operation, a part or a statistic that does not exist; min–max over the set of
        a single video.
      DataError: rows outside their video, or of another shape than their frames.
    """
    operations = chosen(fusion, protocol, smoothed)
    wanted = result or fusion.default
    if isinstance(rows, Mapping):
        given, single = _frames(rows)
        found, lengths = None, [len(video) for video in next(iter(given.values()))]
    else:
        becomes_frames(operations, protocol)
        single, how = isinstance(rows, VideoScores), assigned(operations)
        videos = [rows] if single else list(rows)
        lengths = [video.length for video in videos]
        found = _pairs(videos, how)
        given = series(found, lengths, how)
        found = None if how else found
    values = started(
        given,
        lengths,
        statistics,
        used=mentioned(fusion, protocol) | {wanted},
        wanted=wanted,
        rows=found,
        single=single,
    )
    values.run(operations)
    if wanted not in values.now:
        raise ConfigError(
            f"The {protocol} protocol makes no {wanted!r} of the parts {', '.join(given)}. "
            f"It knows the results {', '.join(results(fusion, protocol))}."
        )
    return values.now[wanted][0] if single else values.now[wanted]


def frame_parts(fusion: Fusion, rows: VideoScores | Sequence[VideoScores]) -> dict[str, Any]:
    """The parts of rows given to frames, as files and people see them.

    Windows are assigned as the fusion says; of objects a frame takes the largest value, whatever
    the part's direction.

    Returns:
      Name → float64 `[F]` (or `[F, K]`) of a single video, a list of them for a list; NaN where
      there is none, throughout in a video that lacks the part. Names are sorted.

    Raises:
      ConfigError, DataError: as `fuse`.
    """
    operations = chosen(fusion, "paper", True)
    becomes_frames(operations, "paper")
    single = isinstance(rows, VideoScores)
    videos = [rows] if single else list(rows)
    how, lengths = assigned(operations), [video.length for video in videos]
    to_frames = mean if how else highest
    parts = {}
    for video, length in zip(_pairs(videos, how), lengths, strict=True):
        for name, values in video.parts.items():
            parts.setdefault(name, []).append(to_frames(video.frame, values, length))
    return {name: own[0] for name, own in parts.items()} if single else parts


def results(fusion: Fusion, protocol: Protocol) -> tuple[str, ...]:
    """Names of the scores that a protocol can make; a single part needs no `combine`."""
    combined = [name for _, name, *_ in _combines(fusion, protocol)]
    return tuple(dict.fromkeys(combined)) or (fusion.default,)


def mentioned(fusion: Fusion, protocol: Protocol) -> set[str]:
    """Parts that a protocol's `combine` may use: absent, they are left out rather than misspelt."""
    combines = _combines(fusion, protocol)
    return {part for _, _, how, *parts in combines for part in sources(how, parts)}


def chosen(fusion: Fusion, protocol: str, smoothed: bool) -> list[Operation]:
    """The operations of a protocol, with or without those that smooth.

    Raises:
      ConfigError: an unknown protocol or operation, or other arguments than it takes.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"No protocol is called {protocol!r}: {' or '.join(PROTOCOLS)}.")
    operations = getattr(fusion, protocol)
    well_formed(operations, protocol)
    return [each for each in operations if smoothed or each[0] not in ("smooth", "filter")]


def started(
    given: Mapping[str, Sequence[np.ndarray]],
    lengths: Sequence[int],
    statistics: Statistics | None,
    *,
    used: set[str],
    wanted: str,
    rows: Sequence[Pairs] | None,
    single: bool,
) -> Values:
    """The values that operations begin with: the parts that they use.

    Where nothing was scored at all, in videos without a row, there are no parts to name: what is
    wanted is NaN then, or what `floor` and `reduce` make of that.

    Args:
      given: name → series a video.
      lengths: frames of each.
      statistics: as `fuse`'s.
      used: names that the operations may speak of.
      wanted: the result.
      rows: where series are of rows that are reduced later, those.
      single: whether it is one video by itself.
    """
    parts = {name: videos for name, videos in given.items() if name in used}
    if not given:
        sizes = lengths if rows is None else [0] * len(lengths)
        parts = {wanted: [np.full(size, np.nan) for size in sizes]}
    return Values(
        parts,
        parts=tuple(parts) if given else (),
        statistics=statistics,
        known=used | set(given),
        lengths=lengths,
        wanted=wanted,
        rows=rows,
        single=single,
    )


def series(
    found: Sequence[Pairs], lengths: Sequence[int], how: str | None
) -> dict[str, list[np.ndarray]]:
    """Name → series a video: of frames, or of rows where they are reduced later."""
    names = found[0].parts if found else ()
    return {
        name: [
            mean(video.frame, video.parts[name], length) if how else video.parts[name]
            for video, length in zip(found, lengths, strict=True)
        ]
        for name in names
    }


def _combines(fusion, protocol):
    return [each for each in chosen(fusion, protocol, True) if each[0] == "combine"]


def _frames(parts):
    """Series by name, and whether they were of one video."""
    if not parts:
        raise ConfigError("There are no parts to fuse. A method gives one at least.")
    single = not isinstance(next(iter(parts.values())), (list, tuple))
    return {
        name: [np.asarray(video, np.float64) for video in ([part] if single else part)]
        for name, part in parts.items()
    }, single


def _pairs(videos, how):
    """The frames that the rows of each video speak of, all with the same parts."""
    found = [inside(pairs(video, how)[0], video.length, video.name) for video in videos]
    return aligned(found)

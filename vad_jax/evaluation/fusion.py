"""How the parts of a score become one number a frame, higher = stranger.

The only place where parts are combined: evaluation, live and export share it. NumPy, float64.
What an operation list may say stands in `vad_jax.types.Fusion`; what it means stands here.

`negate` turns a part, so that higher = stranger; direction comes before min–max, because a constant
part becomes 0, not strange. An operation that names no part acts on all values that exist at its
place in the list, parts and results alike. NaN stays NaN, except under `floor`.

Source: evaluation.md section 4; mnad.md section 7; mpn.md (smoothing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from vad_jax.evaluation.series import minmax, smooth
from vad_jax.types import ConfigError, DataError, Fusion, InputSpec

NINTH = 8  # offset of the ninth frame of a window

Protocol = Literal["paper", "online"]
Values = np.ndarray | Sequence[np.ndarray]  # `[F]` of one video, or a list of them


def assign(
    first: np.ndarray,
    part: np.ndarray,
    *,
    spec: InputSpec,
    length: int,
    how: Literal["mean", "ninth", "newest"],
) -> np.ndarray:
    """Gives the values of windows to the frames of their video.

    `mean`: a frame takes the mean of the windows that score it. `ninth`: a window's mean goes to
    its ninth frame. `newest`: the first window gives all its frames, a later one only those among
    its last `spec.step`; a frame that has a value keeps it, so that a shorter step to a last
    window that is aligned with the video's end changes nothing that was said before.

    Args:
      first: `[W]`, each window's first frame in the video.
      part: `[W, S]`, values of the frames `first + spec.stride * spec.scored`; NaN = none.
      length: F.
      how: see above.

    Returns:
      `[F]` float64; a frame that no window reaches is NaN.
    """
    first, part = np.asarray(first, np.int64), np.asarray(part, np.float64)
    if part.shape != (len(first), len(spec.scored)):
        raise DataError(
            f"{len(first)} windows that score {len(spec.scored)} frames each need values of shape "
            f"{(len(first), len(spec.scored))}, not {part.shape}."
        )
    frame = first[:, None] + spec.stride * np.asarray(spec.scored, np.int64)  # [W, S]
    if how == "ninth":
        if spec.frames <= NINTH:
            raise ConfigError(
                f"A window of {spec.frames} frames has no ninth: let the fusion assign its `mean`."
            )
        frame = first[:, None] + spec.stride * NINTH
        part = _means(np.arange(len(first))[:, None], part, len(first))[:, None]
    given = ~np.isnan(part)
    if (frame[given] < 0).any() or (frame[given] >= length).any():
        raise DataError(
            f"A window scores frame {frame[given].max()} of a video of {length} frames. "
            "Windows lie inside their video: check the length."
        )
    if how == "newest":
        return _newest(first, frame, part, given, spec, length)
    if how in ("mean", "ninth"):
        return _means(frame, part, length)
    raise ConfigError(f"No way to assign windows is called {how!r}: mean, ninth or newest.")


def _means(frame, values, length):
    frame = np.broadcast_to(frame, values.shape)
    given = ~np.isnan(values)
    number = np.bincount(frame[given], minlength=length)
    total = np.bincount(frame[given], weights=values[given], minlength=length)
    return np.divide(total, number, out=np.full(length, np.nan), where=number > 0)


def _newest(first, frame, part, given, spec, length):
    order = np.argsort(first, kind="stable")
    frame, part, given = frame[order], part[order], given[order]
    new = frame > (first[order] + spec.span - 1 - spec.step)[:, None]
    new[:1] = True
    frames, where = np.unique(frame[new & given], return_index=True)  # the oldest window's value
    values = np.full(length, np.nan)
    values[frames] = part[new & given][where]
    return values


def results(fusion: Fusion, protocol: Protocol) -> tuple[str, ...]:
    """Names of the scores that a protocol can make; a single part needs no `combine`."""
    combined = [operation[1] for operation in _operations(fusion, protocol, True, "combine")]
    return tuple(dict.fromkeys(combined)) or (fusion.default,)


def fuse(
    fusion: Fusion,
    parts: Mapping[str, Values],
    statistics: Mapping[str, Mapping[str, float]] | None,
    protocol: Protocol,
    *,
    result: str | None = None,
    smoothed: bool = True,
) -> Any:
    """One number a frame out of the parts of a score.

    Args:
      fusion: the operations.
      parts: name → `[F]` of one video, or a list of `[F]`, one a video; in the paper's own units
        and direction, NaN = none. Parts may be absent: weights are renormalised over those given.
      statistics: part → `mean` and `std` on normal clips, of the part as it comes (a negated part
        is standardised with its mean negated); needed by `standardise` alone. A part with
        deviation 0 becomes 0.
      protocol: `paper` looks at the whole test video, `online` only at its past.
      result: which result; None is `fusion.default`.
      smoothed: False leaves `smooth` out.

    Returns:
      Scores in the structure of a part, float64, higher = stranger, NaN = none.

    Raises:
      ConfigError: an operation, a part or a statistic that does not exist.
    """
    if not parts:
        raise ConfigError("There are no parts to fuse. A method gives one at least.")
    single = not isinstance(next(iter(parts.values())), (list, tuple))
    values = {
        name: [np.asarray(video, np.float64) for video in ([part] if single else part)]
        for name, part in parts.items()
    }
    wanted = result or fusion.default
    state = _State(values, statistics or {}, mentioned(fusion, protocol) | {wanted})
    for operation in _operations(fusion, protocol, smoothed):
        name, *arguments = operation
        if name not in OPERATIONS:
            raise ConfigError(
                f"The fusion's {protocol} list has the operation {name!r}. "
                f"There are: {', '.join(OPERATIONS)}."
            )
        OPERATIONS[name](state, *arguments)
    if wanted not in state.values:
        raise ConfigError(
            f"The {protocol} protocol makes no {wanted!r} of the parts {', '.join(parts)}. "
            f"It knows the results {', '.join(results(fusion, protocol))}."
        )
    return state.values[wanted][0] if single else state.values[wanted]


class _State:
    """What the operations move: the values by name, and which of them were turned."""

    def __init__(self, values, statistics, used):
        self.values = {name: videos for name, videos in values.items() if name in used}
        self.parts = tuple(self.values)
        self.signs = dict.fromkeys(self.values, 1)
        self.statistics = statistics
        self.known = used | set(values)

    def each(self, change):
        self.values = {
            name: [change(video) for video in videos] for name, videos in self.values.items()
        }


def _operations(fusion, protocol, smoothed, only=None):
    if protocol not in ("paper", "online"):
        raise ConfigError(f"No protocol is called {protocol!r}: paper or online.")
    operations = getattr(fusion, protocol)
    return [
        operation
        for operation in operations
        if (smoothed or operation[0] != "smooth") and only in (None, operation[0])
    ]


def _sources(how, parts):
    return tuple(how) if isinstance(how, Mapping) else parts


def mentioned(fusion: Fusion, protocol: str) -> set[str]:
    """Parts that a protocol's `combine` may use: absent, they are left out rather than misspelt."""
    combines = _operations(fusion, protocol, True, "combine")
    return {part for _, _, how, *parts in combines for part in _sources(how, tuple(parts))}


def _negate(state, part):
    if part in state.values:
        state.values[part] = [-video for video in state.values[part]]
        state.signs[part] = -state.signs.get(part, 1)
    elif part not in state.known:
        raise ConfigError(
            f"The fusion negates {part!r}, which is no part: {', '.join(sorted(state.known))}."
        )


def _standardise(state):
    for part in state.parts:
        known = state.statistics.get(part)
        if known is None:
            raise ConfigError(
                f"There are no statistics of normal clips for the part {part!r}. "
                "Standardising needs its mean and deviation: measure them on normal videos."
            )
        mean, deviation = state.signs[part] * float(known["mean"]), float(known["std"])
        if not (np.isfinite(mean) and 0 <= deviation < np.inf):
            raise ConfigError(
                f"The part {part!r} has mean {known['mean']} and deviation {known['std']} on "
                "normal clips; standardising needs finite numbers."
            )
        # A part without spread has no scale: it says nothing, as a constant one under min–max.
        state.values[part] = [
            (video - mean) / deviation if deviation else 0 * video for video in state.values[part]
        ]


def _minmax(state, over):
    if over == "video":
        state.each(minmax)
    elif over == "set":
        for name, videos in state.values.items():
            ends = np.cumsum([len(video) for video in videos])[:-1]
            state.values[name] = np.split(minmax(np.concatenate(videos)), ends)
    else:
        raise ConfigError(f"Min–max goes over a `video` or the `set`, not {over!r}.")


def _combine(state, result, how, *parts):
    sources = [part for part in _sources(how, parts) if part in state.values]
    if not sources:
        return
    columns = (state.values[part] for part in sources)
    videos = [np.stack(video) for video in zip(*columns, strict=True)]  # [P, F]
    if isinstance(how, Mapping):
        weights = np.array([how[part] for part in sources], np.float64)
        if not weights.sum():
            raise ConfigError(f"The weights of {result!r} over {', '.join(sources)} add up to 0.")
        weights /= weights.sum()
        # Not a matrix product: it rounds a frame otherwise than a whole video.
        state.values[result] = [
            sum(weight * part for weight, part in zip(weights, video, strict=True))
            for video in videos
        ]
    elif how == "max":
        state.values[result] = [video.max(axis=0) for video in videos]
    elif how == "squared_difference" and len(parts) == 2:
        if len(sources) == 2:
            state.values[result] = [np.square(video[0] - video[1]) for video in videos]
    else:
        raise ConfigError(
            f"{result!r} is combined by {how!r} of {len(parts)} parts: weights by part, 'max', or "
            "'squared_difference' of two."
        )


def _smooth(state, kernel, edges, causal):
    state.each(lambda video: smooth(video, kernel, edges=edges, causal=causal))


def _floor(state, value):
    """No value below `value`, which also stands where there is none: «nothing there»."""
    state.each(lambda video: np.fmax(video, value))


OPERATIONS = {
    "negate": _negate,
    "standardise": _standardise,
    "minmax": _minmax,
    "combine": _combine,
    "smooth": _smooth,
    "floor": _floor,
}

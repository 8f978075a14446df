"""Whether a fusion can be carried out: what is wrong with it is said before anything is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vad_jax.evaluation.assigning import WAYS
from vad_jax.evaluation.score_files import PROTOCOLS
from vad_jax.types import ConfigError, Fusion


def check(fusion: Fusion) -> None:
    """Goes through a fusion once, as a method is made or loaded.

    Raises:
      ConfigError: an operation that does not exist or has other arguments; `assign` that is not
        first or differs between the protocols; rows that never become frames; a protocol `online`
        that looks at frames to come.
    """
    for protocol in PROTOCOLS:
        well_formed(getattr(fusion, protocol), protocol)
    first = {protocol: assigned(getattr(fusion, protocol)) for protocol in PROTOCOLS}
    if first["paper"] != first["online"]:
        raise ConfigError(
            f"The fusion assigns {first['paper']!r} in its list `paper` and {first['online']!r} in "
            "its list `online`: rows are assigned the same way in both."
        )
    for protocol in PROTOCOLS:
        becomes_frames(getattr(fusion, protocol), protocol)
    causal(fusion.online)


def assigned(operations: Sequence[tuple[Any, ...]]) -> str | None:
    """How rows are assigned; None where they are reduced."""
    return operations[0][1] if operations and operations[0][0] == "assign" else None


def becomes_frames(operations: Sequence[tuple[Any, ...]], protocol: str) -> None:
    """Raises ConfigError for a list that leaves rows as they are."""
    if assigned(operations) is None and not any(name == "reduce" for name, *_ in operations):
        raise ConfigError(
            f'The fusion\'s {protocol} list neither begins with ("assign", …), for windows, nor '
            'has a ("reduce", …), for objects: rows have to become frames.'
        )


def causal(operations: Sequence[tuple[Any, ...]]) -> None:
    """Raises ConfigError for a list that looks at frames to come."""
    for name, *arguments in operations:
        looks, why = _AHEAD.get(name, (None, None))
        if looks and looks(*arguments):
            raise ConfigError(
                f"The fusion's online list has {(name, *arguments)!r}: {why}. What scores a stream "
                "uses its past alone."
            )


def well_formed(operations: Sequence[tuple[Any, ...]], protocol: str) -> None:
    """Raises ConfigError for an operation that does not exist, stands in the wrong place, or has
    other arguments than it takes."""
    names = [operation[0] for operation in operations]
    for number, (name, *arguments) in enumerate(operations):
        where = f"The fusion's {protocol} list has the operation {name!r}"
        if name not in _ARGUMENTS:
            raise ConfigError(f"{where}. There are: {', '.join(_ARGUMENTS)}.")
        fits, form = _ARGUMENTS[name]
        if not fits(*arguments):
            raise ConfigError(f"{where} with {_said(arguments)}; it is {form}.")
        before = names[:number]
        if name == "assign" and before:
            raise ConfigError(f"{where} behind {before[-1]!r}: rows are assigned first of all.")
        if name == "reduce" and {"assign", "reduce"} & set(before):
            raise ConfigError(f"{where} where rows are frames already.")
        if name == "filter" and operations[number - 1 : number] != (("reduce", "map"),):
            raise ConfigError(f'{where} that does not follow ("reduce", "map"): it filters maps.')
        if name == "smooth" and "reduce" in names[number:]:
            raise ConfigError(f"{where} before `reduce`: frames are smoothed, not objects.")


_AHEAD = {  # operation → whether it looks ahead with these arguments, and why
    "minmax": (lambda over: True, "min–max needs the whole video"),
    "smooth": (lambda kernel, edges, causal: not causal, "a centred kernel looks ahead"),
    "filter": (lambda window: window[0] > 1, "a filter over several frames looks ahead"),
}


def _said(arguments):
    return ", ".join(map(repr, arguments)) or "nothing"


def _assign(*arguments):
    return len(arguments) == 1 and arguments[0] in WAYS


def _negate(*arguments):
    return len(arguments) == 1 and isinstance(arguments[0], str)


def _standardise(*arguments):
    return not arguments


def _minmax(*arguments):
    return len(arguments) == 1 and arguments[0] in ("video", "set")


def _combine(*arguments):
    if len(arguments) < 2 or not isinstance(arguments[0], str):
        return False
    _, how, *parts = arguments
    if isinstance(how, Mapping):
        return bool(how) and not parts and all(map(_number, how.values()))
    named = all(isinstance(part, str) for part in parts)
    return named and (
        (how == "max" and bool(parts)) or (how == "squared_difference" and len(parts) == 2)
    )


def _reduce(*arguments):
    return len(arguments) == 1 and arguments[0] in ("max", "map")


def _filter(*arguments):
    return (
        len(arguments) == 1
        and isinstance(arguments[0], Sequence)
        and len(arguments[0]) == 3
        and all(isinstance(size, int) and size > 0 for size in arguments[0])
    )


def _smooth(*arguments):
    if len(arguments) != 3:
        return False
    kernel, edges, causal = arguments
    return (
        isinstance(kernel, Sequence | np.ndarray)
        and len(kernel) > 0
        and all(map(_number, kernel))
        and edges in (("nearest", "zero") if causal else ("nearest", "reflect", "zero"))
        and isinstance(causal, bool)
    )


def _floor(*arguments):
    return len(arguments) == 1 and _number(arguments[0])


def _number(value) -> bool:
    return isinstance(value, int | float | np.number) and bool(np.isfinite(value))


_ARGUMENTS = {  # operation → whether arguments fit, and how it is written
    "assign": (_assign, '("assign", "mean" | "ninth" | "newest")'),
    "negate": (_negate, '("negate", part)'),
    "standardise": (_standardise, '("standardise",)'),
    "minmax": (_minmax, '("minmax", "video" | "set")'),
    "combine": (
        _combine,
        '("combine", result, {part: weight, …}), ("combine", result, "max", part, …) or '
        '("combine", result, "squared_difference", part, part)',
    ),
    "reduce": (_reduce, '("reduce", "max" | "map")'),
    "filter": (_filter, '("filter", (frames, height, width)), whole numbers from 1 on'),
    "smooth": (
        _smooth,
        '("smooth", kernel, "nearest" | "reflect" | "zero", causal), no "reflect" by the past '
        "alone",
    ),
    "floor": (_floor, '("floor", value)'),
}

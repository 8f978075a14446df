"""Micro AUCs with their intervals as bars on one axis, in per cent of its width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vad_jax.evaluation.controls import best_control
from vad_jax.evaluation.tables import figure_text, mark, shown

PLACED = ("low", "high", "value", "control")
CHIPS = {True: "chip good", False: "chip warn", None: "soft"}  # no badge where nothing can be said


def of(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The bars of one run or several.

    Args:
      runs: name → content of `metrics.json`; the name "" stays out of the titles.

    Returns:
      `rows`, `ticks` of the axis, and its `start`, a tenth that is 0.5 at most.
    """
    rows = [
        _row(metrics, name, *column) for name, metrics in runs.items() for column in shown(metrics)
    ]
    numbers = [row[key] for row in rows for key in ("low", "value", "control")]
    start = int(10 * min([0.5, *(number for number in numbers if number is not None)])) / 10
    for row in rows:
        row |= {key: None if row[key] is None else share(row[key], start) for key in PLACED}
    tenths = range(round(10 * start), 11)
    ticks = [{"at": share(tenth / 10, start), "text": str(10 * tenth)} for tenth in tenths]
    return {"rows": rows, "ticks": ticks, "start": start}


def _row(metrics, name, protocol, variant):
    figure = metrics["protocols"][protocol][variant]["auc_micro"]
    controls = metrics["controls"][protocol][variant]["auc_micro"]
    best = best_control(controls)
    return {
        "title": f"{name}: {protocol}, {variant}" if name else f"{protocol}, {variant}",
        "protocol": protocol,
        "text": figure_text(figure),
        "why": figure.get("why") if figure["value"] is None else None,
        "mark": mark(metrics, protocol, variant),
        "chip": CHIPS[metrics["beats_controls"][protocol][variant]["auc_micro"]],
        "low": figure.get("low"),
        "high": figure.get("high"),
        "value": figure["value"],
        "control": None if best is None else controls[best]["value"],
    }


def share(value: float, start: float) -> float:
    """Where a value lies on an axis from `start` to 1."""
    return round(100 * (value - start) / (1 - start), 2)

"""Several evaluated runs in one table, made from their `metrics.json` alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from vad_jax.evaluation.controls import best_control
from vad_jax.evaluation.tables import figure_text

COLUMNS = (("paper", "auc_micro"), ("online", "auc_micro"), ("paper", "auc_macro"))
_HEAD = ("run", "seed", "micro, paper", "micro, online", "macro, paper")


def comparison(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table: AUC × 100 with its interval, a line a run and result.

    Runs whose configuration differs in nothing but the seed get one more line: mean, deviation and
    range over the seeds. Last comes the best control of each set of test frames.

    Args:
      runs: name → content of `metrics.json`.
    """
    lines = ["| " + " | ".join([*_HEAD, "updated"]) + " |", "| --- |" + " --- |" * len(_HEAD)]
    for names in _groups(runs).values():
        for name in names:
            lines += _lines(name, runs[name])
        if len(names) > 1:
            lines += _over_seeds(names, [runs[name] for name in names])
    return "\n".join(lines + _controls(runs))


def _groups(runs) -> dict[str, list[str]]:
    """Names of runs by all of their configuration but what differs between repetitions."""
    groups: dict[str, list[str]] = {}
    for name, metrics in runs.items():
        config = copy.deepcopy(metrics["run"]["config"])
        config.pop("seed", None)
        same = json.dumps([config, metrics["data"]["data_hash"]], sort_keys=True)
        groups.setdefault(same, []).append(name)
    return groups


def _row(name, seed, cells, updated="–") -> str:
    return "| " + " | ".join([name, str(seed), *cells, updated]) + " |"


def _lines(name, metrics) -> list[str]:
    seed = metrics["run"]["config"].get("seed", "–")
    updated = metrics["part_means"].get("updated")
    cells = [figure_text(metrics["protocols"][p]["raw"][m]) for p, m in COLUMNS]
    lines = [_row(name, seed, cells, "–" if updated is None else f"{updated:.3f}")]
    for result, own in metrics["results"].items():
        cells = [figure_text(own[p]["raw"][m]) if p in own else "–" for p, m in COLUMNS]
        lines.append(_row(f"{name}, {result}", seed, cells))
    return lines


def _over_seeds(names, group) -> list[str]:
    """Mean ± deviation (n − 1) and range over the seeds, for the method and each other result."""
    lines = []
    for result in (None, *group[0]["results"]):
        cells = []
        for protocol, metric in COLUMNS:
            values = [
                (m["protocols"] if result is None else m["results"][result])[protocol]["raw"][
                    metric
                ]
                for m in group
            ]
            values = [100 * v["value"] for v in values if v["value"] is not None]
            spread = f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" if values else "–"
            cells.append(f"{spread}, {min(values):.1f} to {max(values):.1f}" if values else spread)
        what = f"mean of {len(names)} seeds" + (f", {result}" if result else "")
        lines.append(_row(what, "all", cells))
    return lines


def _controls(runs) -> list[str]:
    """The best control of each metric, once for all runs that saw the same frames."""
    seen, lines = set(), []
    for metrics in runs.values():
        cells = []
        for protocol, metric in COLUMNS:
            controls = metrics["controls"][protocol]["raw"][metric]
            best = best_control(controls)
            cells.append("–" if best is None else f"{100 * controls[best]['value']:.1f} ({best})")
        row = _row(f"best control, {metrics['data']['scored']} frames", "–", cells)
        if row not in seen:
            seen.add(row)
            lines.append(row)
    return lines

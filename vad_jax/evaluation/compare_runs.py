"""Several evaluated runs in one table, made from their files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vad_jax.evaluation import certainty
from vad_jax.evaluation.bootstrap import bootstrap
from vad_jax.evaluation.controls import best_control
from vad_jax.evaluation.differences import (
    check_same,
    difference,
    difference_text,
)
from vad_jax.evaluation.metrics import COMPARED
from vad_jax.evaluation.score_files import Scored, known_scores, scenes_of, truth_of
from vad_jax.evaluation.tables import in_short, in_words

COLUMNS = (("paper", "auc_micro"), ("online", "auc_micro"), ("paper", "auc_macro"))
_ABOUT_RUNS = (
    "AUC × 100, unsmoothed, with intervals over videos. Seeds of one configuration: mean ± "
    "deviation and range, and the interval that they have together."
)
_ABOUT_PAIRS = (
    "In points, over the frames that both runs score, with the interval over videos and the "
    "two-sided p of a sign-flip test of what each video adds to the difference."
)
_HEAD = ("run", "seed", "micro, paper", "micro, online", "macro, paper")


def comparison(
    runs: Mapping[str, Mapping[str, Any]],
    scored: Mapping[str, Scored],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> str:
    """`comparison_tables` as Markdown; arguments as there."""
    return markdown(comparison_tables(runs, scored, replicates=replicates, seed=seed))


class Table(NamedTuple):
    """Text in rows: `title`, one sentence `about` it, `head` and `rows` of cells."""

    title: str
    about: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def markdown(tables: Sequence[Table]) -> str:
    """The tables, one below the other, without their titles."""

    def line(cells):
        return "| " + " | ".join(cells) + " |"

    texts = [
        "\n".join(map(line, (table.head, ["---"] * len(table.head), *table.rows)))
        for table in tables
    ]
    return "\n\n".join(texts)


def comparison_tables(
    runs: Mapping[str, Mapping[str, Any]],
    scored: Mapping[str, Scored],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> list[Table]:
    """AUC × 100 of each run with its interval, and differences from the first run.

    Runs that differ in nothing but the seed (`recipe_hash`, `training_data_hash`; none of them
    adapted) get lines for all their seeds: mean ± deviation (n − 1) and range, and the interval
    that they have together (`certainty.pooled`). Last comes the best control of each set of test
    frames. Differences are paired over the frames that both runs score.

    Args:
      runs: name → content of `metrics.json`.
      scored: name → content of `scores.npz`.
      replicates, seed: of the bootstrap.

    Raises:
      DataError: two runs that were evaluated on other videos or labels.
    """
    draw = {"replicates": replicates, "seed": seed}
    rows = []
    for names in _groups(runs):
        for name in names:
            rows += _lines(name, runs[name])
        if len(names) > 1:
            rows += _over_seeds(names, runs, scored, draw)
    rows += _controls(runs)
    tables = [Table("Runs", _ABOUT_RUNS, _HEAD, rows)]
    if len(scored) > 1:
        tables.append(_differences(scored, draw))
    return tables


def _row(*cells) -> tuple[str, ...]:
    return tuple(map(str, cells))


def _groups(runs) -> list[list[str]]:
    """Names of runs that are repetitions of one another: all is equal but their seeds."""
    groups: dict[tuple, dict[Any, list[str]]] = {}
    for name, metrics in runs.items():
        run = metrics["run"]
        key = (run.get("recipe_hash") or name, run.get("training_data_hash"))
        groups.setdefault(key, {}).setdefault(run.get("seed"), []).append(name)
    return [
        names
        for seeds in groups.values()
        for names in ([first for first, *_ in seeds.values()], *([n] for n in _others(seeds)))
    ]


def _others(seeds: Mapping[Any, Sequence[str]]) -> list[str]:
    """Runs of a seed that another run has already: no further repetition."""
    return [name for _, *others in seeds.values() for name in others]


def _lines(name, metrics) -> list[tuple[str, ...]]:
    cells = [in_words(metrics["protocols"][p]["raw"][m]) for p, m in COLUMNS]
    lines = [_row(name, metrics["run"].get("seed", "–"), *cells)]
    for result, own in metrics["results"].items():
        cells = [in_words(own[p]["raw"][m]) if p in own else "–" for p, m in COLUMNS]
        lines.append(_row(f"{name}, {result}", metrics["run"].get("seed", "–"), *cells))
    return lines


def _over_seeds(names, runs, scored, draw) -> list[tuple[str, ...]]:
    """Mean ± deviation and range over the seeds, for the method and each further result."""
    check_same({name: scored[name] for name in names})
    lines, count = [], f"{len(names)} seeds"
    for result in (None, *runs[names[0]]["results"]):
        cells, pooled = [], []
        for protocol, metric in COLUMNS:
            figures = [runs[name] for name in names]
            figures = [m["protocols"] if result is None else m["results"][result] for m in figures]
            values = [figure[protocol]["raw"][metric]["value"] for figure in figures]
            values = 100 * np.array([value for value in values if value is not None])
            if len(values) < 2:
                cells.append("–")
                pooled.append("–")
                continue
            pooled.append(_pooled([scored[n] for n in names], result, protocol, metric, draw))
            spread = f"{values.std(ddof=1):.1f}, {values.min():.1f} to {values.max():.1f}"
            cells.append(f"{values.mean():.1f} ± {spread}")
        what = f", {result}" if result else ""
        lines.append(_row(f"mean of {count}{what}", "all", *cells))
        lines.append(_row(f"interval of {count}{what}", "all", *pooled))
    return lines


def _pooled(group, result, protocol, metric, draw) -> str:
    """The central 95 % of what is known of the figure of any of the seeds, × 100."""
    key = f"{protocol}_raw"
    intervals = [
        bootstrap(
            truth_of(run),
            known_scores(
                run, run.scores[key] if result is None else run.results[f"{result}_{key}"]
            ),
            COMPARED[metric],
            groups=scenes_of(run),
            **draw,
        )
        for run in group
    ]
    laws = [interval.law for interval in intervals]
    if None in laws:
        return next((in_short(interval.why) for interval in intervals if interval.why), "–")
    low, high = certainty.pooled(laws, intervals[0].level)
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _controls(runs) -> list[tuple[str, ...]]:
    """The best control of each metric, once for all runs that saw the same frames."""
    lines: dict[tuple[str, ...], None] = {}
    for metrics in runs.values():
        cells = []
        for protocol, metric in COLUMNS:
            controls = metrics["controls"][protocol]["raw"][metric]
            best = best_control(controls)
            cells.append("–" if best is None else f"{100 * controls[best]['value']:.1f} ({best})")
        frames = metrics["data"]["scored"]
        lines[_row(f"best control, {frames} frames", "–", *cells)] = None
    return list(lines)


def _differences(scored, draw) -> Table:
    """Each run minus the first, paired."""
    (first, base), *others = scored.items()
    check_same(scored)
    titles = [f"{metric.removeprefix('auc_')}, {protocol}" for protocol, metric in COLUMNS]
    rows = []
    for name, other in others:
        gaps = (difference(other, base, f"{p}_raw", m, **draw) for p, m in COLUMNS)
        rows.append(_row(name, *map(difference_text, gaps)))
    return Table("Differences", _ABOUT_PAIRS, (f"minus {first}, paired", *titles), rows)

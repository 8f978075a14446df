"""The figures of K-shot evaluation, drawn once, and the table that is printed from them.

Letters: V videos, K shots.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from vad_jax.evaluation.bootstrap import bootstrap
from vad_jax.evaluation.compare_runs import COLUMNS
from vad_jax.evaluation.differences import difference, difference_parts
from vad_jax.evaluation.metrics import COMPARED, value_of
from vad_jax.evaluation.score_files import PROTOCOLS, Scored, known_scores, truth_of
from vad_jax.evaluation.tables import aligned, figure_text, wrapped
from vad_jax.spelling import counted

Figures = dict[str, dict[str, dict[str, Any]]]  # K as text → protocol → name → figure


def few_shot_figures(
    scored: Mapping[int, Scored],
    *,
    scenes: Sequence[Hashable] | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> Figures:
    """AUCs of each number of shots with intervals, and differences from the first.

    Args:
      scored: K → all videos, on the same frames.
      scenes: of each video, `[V]`, if several show one; intervals are over scenes then, else over
        videos.
      replicates, seed: of the bootstrap.

    Returns:
      K as text → `{"PROTOCOL": {"auc_micro": figure, …, "auc_micro_difference": figure}}`, of raw
      scores; a figure has `value`, `low`, `high`, a difference also `p`.
    """
    draw = {"replicates": replicates, "seed": seed, "groups": scenes}
    base = next(iter(scored.values()))
    return {
        str(number): {
            protocol: _figures(own, base, f"{protocol}_raw", draw) for protocol in PROTOCOLS
        }
        for number, own in scored.items()
    }


def _figures(scored, base, column, draw):
    truth, values = truth_of(scored), known_scores(scored, scored.scores[column])
    result = {}
    for name, metric in COMPARED.items():
        interval = bootstrap(truth, values, metric, **draw)
        result[name] = interval.figure(value_of(metric, truth, values))
        if scored is not base:
            result[f"{name}_difference"] = difference(scored, base, column, name, **draw)
    return result


def few_shot_table(
    scored: Mapping[str, Mapping[int, Scored]],
    figures: Mapping[str, Figures],
    *,
    scenes: Sequence[Hashable] | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> str:
    """What a command prints: a line for each run and K, figures × 100.

    Differences are from the same run's first K, and of every run but the first from the first run
    at the same K; all are paired, over videos or, where videos share them, over scenes, and the p
    of each stands below it.

    Args:
      scored: run → K → all videos.
      figures: run → what `few_shot_figures` says of it; only differences between runs are drawn
        here.
      scenes, replicates, seed: as there.

    Raises:
      DataError: runs on other videos or labels.
    """
    draw = {"replicates": replicates, "seed": seed, "groups": scenes}
    first_name, first = next(iter(scored.items()))
    some = next(iter(first.values()))
    frames = sum(int(np.isfinite(video).sum()) for video in some.scores["paper_raw"])
    rows = [("run", "shots", *(f"{m.removeprefix('auc_')}, {p}" for p, m in COLUMNS))]
    for name, own in scored.items():
        base = next(iter(own))
        for number in own:
            figure = figures[name][str(number)]
            rows.append((name, str(number), *(figure_text(figure[p][m]) for p, m in COLUMNS)))
            if number != base:
                gaps = [figure[p][f"{m}_difference"] for p, m in COLUMNS]
                rows += _gap_rows(f"minus {base} shots", gaps)
            if name != first_name and number in first:
                two = own[number], first[number]
                gaps = [difference(*two, f"{p}_raw", m, **draw) for p, m in COLUMNS]
                rows += _gap_rows(f"minus {first_name}", gaps)
    about = (
        f"{counted(len(some.names), 'video')}, {frames} frames, the same for every K (no frame of "
        f"the largest support); figures x 100{_over(figures, scenes)}"
    )
    return "\n".join(wrapped([about, "", *aligned(rows)]))


def _over(figures, scenes):
    """What intervals are over, or why there are none."""
    all_ = [figure[p][m] for run in figures.values() for figure in run.values() for p, m in COLUMNS]
    reasons = [figure["why"] for figure in all_ if figure["value"] is not None and "why" in figure]
    over = f"{len(set(scenes))} scenes" if scenes else "videos"
    some = any(figure["low"] is not None for figure in all_)
    return (f", 95 % intervals over {over}" if some else "") + (
        f"; {reasons[0]}" if reasons else ""
    )


def _gap_rows(title, gaps):
    """A line of differences with their intervals, and a line of their p, or of why none is said."""
    values, said = zip(*map(difference_parts, gaps), strict=True)
    return [(f"  {title}", "", *values), *([("", "", *said)] if any(said) else [])]

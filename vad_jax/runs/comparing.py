"""Several runs side by side: what `vad_jax.evaluate --workdir=A,B` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vad_jax import evaluation
from vad_jax.evaluation.summary import VERSION
from vad_jax.runs.describing import command_line
from vad_jax.runs.evaluating import evaluate
from vad_jax.runs.workdir import Workdir
from vad_jax.types import ConfigError

log = logging.getLogger(__name__)


def compare(workdirs: Sequence[str | Path], **options: Any) -> dict[str, Any]:
    """Prints one table of several runs and writes it as a page, `comparison.html`.

    Runs that have no `metrics.json` are evaluated, or all of them where an option is given. The
    page goes into the first workdir, from which differences are taken.

    Args:
      workdirs: of finished runs, or folders that `evaluate_scores` wrote.
      options: for `evaluate`.

    Returns:
      Name of a run (its folder's) → the content of its `metrics.json`.

    Raises:
      VadError: two runs of one name, other test frames or labels, or as `evaluate`.
    """
    found, scored = {}, {}
    for workdir in workdirs:
        files = Workdir(Path(workdir))
        name = files.folder.resolve().name
        if name in found:
            raise ConfigError(f"Two workdirs are called {name}: rename one, tables name runs so.")
        if any(options.values()) or not files.metrics.exists():
            evaluate(workdir, **options)
        found[name] = evaluation.read_metrics(files.metrics)
        scored[name] = evaluation.read_scores(files.scores)
        if found[name]["version"] < VERSION:
            log.warning(
                "%s: its intervals are those of an earlier version, too short with few videos. "
                "Evaluate it anew.", name,
            )  # fmt: skip
    tables = evaluation.comparison_tables(found, scored)
    print(evaluation.markdown(tables))
    given = {"workdir": ",".join(map(str, workdirs)), **options}
    page = evaluation.render_comparison(
        Workdir(Path(workdirs[0])).comparison,
        found,
        tables,
        command=command_line("evaluate", given),
    )
    print(f"\nPage: {page}")
    return found

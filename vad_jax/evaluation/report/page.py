"""From a workdir's files to `report.html`, from several to one page that compares them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vad_jax.atomic import sha256, whole
from vad_jax.evaluation.compare_runs import Table
from vad_jax.evaluation.controls import best_control
from vad_jax.evaluation.legend import legend
from vad_jax.evaluation.printed_figures import published_auc
from vad_jax.evaluation.report import alarms, bars, curves, gallery, timeline
from vad_jax.evaluation.score_files import (
    CONTROLS_FILE,
    METRICS_FILE,
    PICTURES_FOLDER,
    PROTOCOLS,
    REPORT_FILE,
    SCORES_FILE,
    read_controls,
    read_metrics,
    read_scores,
)
from vad_jax.evaluation.series import minmax
from vad_jax.evaluation.tables import (
    NONE,
    PLACES,
    TITLES,
    control_text,
    figure_text,
    in_short,
    shown,
)
from vad_jax.evaluation.tables import table as printed

PLACE = Path(__file__).parent


def render(workdir: str | Path) -> Path:
    """Makes `report.html`: one page that asks nothing of the network.

    Args:
      workdir: holds `scores.npz` and `metrics.json`, and perhaps `pictures/` with `index.json`
        (`gallery.cards`) and `timeline.json` (`gallery.clicks`).

    Returns:
      The path of the page.

    Raises:
      DataError: a file that is missing, damaged, or names a picture outside the workdir.
    """
    workdir = Path(workdir)
    scored, metrics = read_scores(workdir / SCORES_FILE), read_metrics(workdir / METRICS_FILE)
    scored = read_controls(workdir / CONTROLS_FILE, scored)
    drawn = bars.of({"": metrics})
    clicks = gallery.clicks(workdir / PICTURES_FOLDER, scored)
    script = (PLACE / "page.js").read_text(encoding="utf-8")
    facts = _rows(metrics["run"])
    page = template("run_page.html").render(
        name=workdir.resolve().name,
        method=scored.meta.get("method"),
        date=_date(metrics["run"]),
        words=legend(printed(metrics)),
        few=_few(metrics),
        metrics=metrics,
        columns=shown(metrics),
        bars=drawn,
        published=_published(metrics, drawn["start"]),
        table=_table(metrics),
        places=_places(metrics),
        regions=alarms.regions(metrics),
        controls=_controls(metrics),
        curves=_curves(scored, metrics),
        alarms=alarms.facts(metrics),
        timelines=_timelines(scored, metrics),
        clicks=clicks,
        script=script,
        script_hash=_policy(script) if clicks else "none",
        pictures=gallery.cards(workdir / PICTURES_FOLDER),
        videos=[_video(video, shown(metrics)) for video in metrics["per_video"]],
        run=[row for row in facts if not _is_hash(row[0])],
        hashes=[row for row in facts if _is_hash(row[0])] + _hashes(workdir, metrics),
    )
    path = workdir / REPORT_FILE
    with whole(path, "wb") as file:
        file.write(page.encode())
    return path


def render_comparison(
    path: str | Path,
    runs: Mapping[str, Mapping[str, Any]],
    tables: Sequence[Table],
    *,
    command: str,
) -> Path:
    """Makes one page of several runs, which asks nothing of the network; returns its path.

    Args:
      path: of the page.
      runs: name → content of `metrics.json`.
      tables: of the runs, as `comparison_tables` makes them.
      command: which makes the page again.
    """
    page = template("runs_page.html").render(
        names=list(runs), bars=bars.of(runs), tables=tables, command=command, script_hash="none"
    )
    path = Path(path)
    with whole(path, "wb") as file:
        file.write(page.encode())
    return path


def template(name: str) -> Any:
    """One of the page's templates; what goes in is text, never markup."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PLACE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _policy(script: str) -> str:
    """The only script that the page may run, as its content security policy names it."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _published(metrics, start):
    """Published figures, where on the axis of the bars; none that lie before its start."""
    rows = [row._asdict() for row in published_auc(metrics["data"]["set"])]
    return [row | {"at": bars.share(row["value"] / 100, start)} for row in rows]


def _table(metrics):
    return [
        {
            "title": title,
            "cells": [_cell(metrics["protocols"][p][v][name]) for p, v in shown(metrics)],
        }
        for name, title in TITLES.items()
    ] + [
        {
            "title": f"AUC micro, {result}",
            "cells": [
                _cell(own[p][v]["auc_micro"] if p in own else NONE) for p, v in shown(metrics)
            ],
        }
        for result, own in metrics["results"].items()
    ]


def _places(metrics):
    first = metrics["protocols"]["paper"]["raw"]
    return [{"title": title, "cell": _cell(first[name])} for name, title in PLACES.items()]


def _cell(figure):
    text, _, interval = figure_text(figure).partition(" ")
    chance, why = figure.get("chance"), figure.get("why", "")
    why = why if figure["value"] is None else in_short(why)
    notes = [interval.strip("()")] if interval else [why]
    notes += [] if chance is None else [f"chance {100 * chance:.1f}"]
    notes += [f"skipped: {figure['skipped']}"] if figure.get("skipped") else []
    return {"text": text, "notes": [note for note in notes if note]}


def _controls(metrics):
    """One row a control, the strongest under the `paper` protocol first."""
    tables = [metrics["controls"][p][v]["auc_micro"] for p, v in shown(metrics)]
    best = [best_control(table) for table in tables]
    names = sorted(tables[0], key=lambda name: -(tables[0][name]["value"] or 0))
    return [
        {
            "name": name,
            "cells": [
                {
                    "text": "–" if table[name]["value"] is None else _signed(table[name]),
                    "best": name == top,
                    "title": control_text(name, table[name]) if table[name]["value"] else name,
                }
                for table, top in zip(tables, best, strict=True)
            ],
        }
        for name in names
    ]


def _signed(row):
    return f"{100 * row['value']:.1f}{' (negated)' if row['direction'] < 0 else ''}"


def _curves(scored, metrics):
    """ROC, PR and histogram of each column that is shown, with the best control; or nothing."""
    found = []
    for protocol, variant in shown(metrics):
        own = scored.scores[f"{protocol}_{variant}"]
        labels, values = _known(scored, own)
        if labels.all() or not labels.any():
            continue
        table = metrics["controls"][protocol][variant]["auc_micro"]
        best, control = best_control(table), None
        if best in scored.controls and variant == "raw":
            turned = [table[best]["direction"] * video for video in scored.controls[best]]
            seen = zip(turned, own, strict=True)
            turned = [np.where(np.isnan(scores), np.nan, video) for video, scores in seen]
            control = _known(scored, list(map(minmax, turned)) if protocol == "paper" else turned)
        found.append(
            {
                "title": f"{protocol}, {variant}",
                "protocol": protocol,
                "roc": curves.roc(labels, values),
                "pr": curves.precision_recall(labels, values),
                "histogram": curves.histogram(labels, values),
                "control": best if control else None,
                "control_roc": curves.roc(*control) if control else "",
                "control_pr": curves.precision_recall(*control) if control else "",
            }
        )
    return found


def _known(scored, videos):
    """Labels (bool) and scores of the frames that have both, `[N]`."""
    labels, values = np.concatenate(scored.labels), np.concatenate(videos)
    kept = (labels >= 0) & ~np.isnan(values)
    return labels[kept] == 1, values[kept]


def _timelines(scored, metrics):
    paper, online = (scored.scores[f"{protocol}_raw"] for protocol in PROTOCOLS)
    threshold = metrics["calibration"].get("threshold")
    given = online if threshold is None else [*online, np.array([threshold])]
    low, high = timeline.extent(given)
    found = alarms.segments(scored, metrics)
    return [
        {
            "name": name,
            "last": len(labels) - 1,
            "text": f"{len(labels)} frames, {int((labels == 1).sum())} anomalous",
            "truth": timeline.shades(labels == 1),
            "unscored": timeline.shades(paper[i] != paper[i]),
            "alarms": timeline.shades(found[i]),
            "threshold": threshold is not None and timeline.level(threshold, low, high),
            "paper": timeline.line(paper[i], *timeline.extent([paper[i]])),
            "online": timeline.line(online[i], low, high),
        }
        for i, (name, labels) in enumerate(zip(scored.names, scored.labels, strict=True))
    ]


def _video(video, columns):
    return {
        "name": video["name"],
        "frames": video["frames"],
        "scored": video["scored"],
        "positives": video["positives"],
        "auc": [_percent(video["auc"][p][v]) for p, v in columns],
    }


def _percent(value):
    return "–" if value is None else f"{100 * value:.1f}"


def _date(run) -> str | None:
    """The day and the time of an evaluation, UTC; None where an earlier version kept none."""
    date = run.get("date") or run.get("environment", {}).get("date")
    return date and f"{date[:10]} {date[11:16]} UTC"


def _few(metrics) -> str | None:
    """Why the bars have no interval."""
    figures = [metrics["protocols"][p][v]["auc_micro"] for p, v in shown(metrics)]
    return next((f["why"] for f in figures if f["value"] is not None and f["low"] is None), None)


def _is_hash(key: str) -> bool:
    return key.endswith("_hash")


def _hashes(workdir: Path, metrics) -> list[tuple[str, str]]:
    """Those of labels and data where the run does not say them, and of the page's own files."""
    data = {key: metrics["data"][key] for key in ("label_hash", "data_hash")}
    rows = [(key, value) for key, value in data.items() if value and key not in metrics["run"]]
    return rows + [
        (f"sha256 of {name}", sha256(workdir / name)) for name in (SCORES_FILE, METRICS_FILE)
    ]


def _rows(run: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested plain values as rows of a table: `config.input.height`, `240`."""
    rows = []
    for key, value in run.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            rows += _rows(value, f"{name}.")
        else:
            rows.append((name, value if isinstance(value, str) else json.dumps(value)))
    return rows

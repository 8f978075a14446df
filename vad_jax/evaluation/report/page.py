"""From a workdir's files to `report.html`."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from vad_jax.evaluation.controls import best_control
from vad_jax.evaluation.files import PROTOCOLS, read_controls, read_metrics, read_scores
from vad_jax.evaluation.report import curves, timeline
from vad_jax.evaluation.series import minmax
from vad_jax.evaluation.tables import PLACES, TITLES, control_text, figure_text, mark, shown
from vad_jax.types import DataError

MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
KINDS = {
    "hit": "Strongest hits",
    "false_alarm": "Worst false alarms",
    "miss": "Worst misses",
    "matching": "Which items match, the strangest and the least strange frame",
    "memory": "What the memory holds",
}
SHOWN = 12  # pictures of a kind


def render(workdir: str | Path) -> Path:
    """Makes `report.html`: one page that asks nothing of the network.

    Args:
      workdir: holds `scores.npz` and `metrics.json`, and perhaps `pictures/index.json`, a list of
        `file` (inside `pictures/`), `kind` (one of `KINDS`), `caption`, and either `video`,
        `frame`, `score`, `label` or a `title`.

    Returns:
      The path of the page.

    Raises:
      DataError: a file that is missing, damaged, or names a picture outside the workdir.
    """
    import jinja2

    workdir = Path(workdir)
    scored, metrics = read_scores(workdir / "scores.npz"), read_metrics(workdir / "metrics.json")
    scored = read_controls(workdir / "controls.npz", scored)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        name=scored.meta.get("method", workdir.resolve().name),
        metrics=metrics,
        columns=shown(metrics),
        head=_head(metrics),
        table=_table(metrics),
        places=_places(metrics),
        controls=_controls(metrics),
        curves=_curves(scored, metrics),
        timelines=_timelines(scored, metrics),
        pictures=_pictures(workdir / "pictures"),
        videos=[_video(video, shown(metrics)) for video in metrics["per_video"]],
        run=_rows(metrics["run"]),
        hashes={name: _sha256(workdir / name) for name in ("scores.npz", "metrics.json")},
    )
    path = workdir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _head(metrics):
    """The micro AUC of both protocols as bars on one axis, in per cent of its width."""
    rows = []
    for protocol, variant in shown(metrics):
        figure = metrics["protocols"][protocol][variant]["auc_micro"]
        controls = metrics["controls"][protocol][variant]["auc_micro"]
        best = best_control(controls)
        rows.append(
            {
                "title": f"{protocol}, {variant}",
                "protocol": protocol,
                "text": figure_text(figure),
                "why": figure.get("why"),
                "mark": mark(metrics, protocol, variant),
                "beaten": metrics["beats_controls"][protocol][variant]["auc_micro"],
                "low": figure.get("low"),
                "high": figure.get("high"),
                "value": figure["value"],
                "control": None if best is None else controls[best]["value"],
            }
        )
    numbers = [row[key] for row in rows for key in ("low", "value", "control")]
    least = min([0.5, *(number for number in numbers if number is not None)])
    start = int(least * 10) / 10
    for row in rows:
        for key in ("low", "high", "value", "control"):
            row[key] = None if row[key] is None else _share(row[key], start)
    tenths = range(round(10 * start), 11)
    ticks = [{"at": _share(tenth / 10, start), "text": str(10 * tenth)} for tenth in tenths]
    return {"rows": rows, "ticks": ticks}


def _share(value, start):
    return round(100 * (value - start) / (1 - start), 2)


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
            "cells": [_cell(own[p][v]["auc_micro"]) for p, v in shown(metrics) if p in own],
        }
        for result, own in metrics["results"].items()
    ]


def _places(metrics):
    first = metrics["protocols"]["paper"]["raw"]
    return [{"title": title, "cell": _cell(first[name])} for name, title in PLACES.items()]


def _cell(figure):
    text, _, interval = figure_text(figure).partition(" ")
    chance = figure.get("chance")
    notes = [interval.strip("()")] if interval else [figure.get("why", "")]
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
    low, high = timeline.extent(online)
    return [
        {
            "name": name,
            "last": len(labels) - 1,
            "text": f"{len(labels)} frames, {int((labels == 1).sum())} anomalous",
            "truth": timeline.shades(labels == 1),
            "unscored": timeline.shades(paper[i] != paper[i]),
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


def _pictures(folder):
    index = folder / "index.json"
    if not index.is_file():
        return []
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))
        groups = {
            title: [entry for entry in entries if entry["kind"] == kind][:SHOWN]
            for kind, title in KINDS.items()
        }
        cards = {
            title: [_card(folder, entry) for entry in group] for title, group in groups.items()
        }
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{index} is no list of pictures ({error!r}). Each has file, video, frame, score, "
            "label, kind and caption, or title; make them anew with `evaluate`."
        ) from error
    return [{"title": title, "cards": group} for title, group in cards.items() if group]


def _card(folder, entry):
    file = (folder / entry["file"]).resolve()
    if not file.is_relative_to(folder.resolve()) or file.suffix.lower() not in MEDIA:
        raise DataError(
            f"{folder / 'index.json'} names {entry['file']!r}. A picture is a "
            f"{', '.join(MEDIA)} file inside {folder}."
        )
    if not file.is_file():
        raise DataError(f"There is no picture {file}, which {folder / 'index.json'} names.")
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    card = {
        "source": f"data:{MEDIA[file.suffix.lower()]};base64,{data}",
        "caption": entry.get("caption", ""),
    }
    if "title" in entry:
        return {**card, "title": entry["title"], "place": "", "about": ""}
    truth = {1: "anomalous", 0: "normal"}.get(entry["label"], "label unknown")
    return {
        **card,
        "title": entry["video"],
        "place": f", frame {entry['frame']}",
        "about": f"score {entry['score']:.3g}, {truth}",
    }


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


def _sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()

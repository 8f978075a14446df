"""The figures of `metrics.json` as plain text, the way a command prints them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vad_jax.evaluation.controls import best_control
from vad_jax.evaluation.legend import legend
from vad_jax.evaluation.score_files import PROTOCOLS, VARIANTS
from vad_jax.spelling import counted

WIDTH = 100  # of what is printed
MOST_BESIDE = 3  # columns with which an interval fits beside its figure
NAMED = 5  # videos that a line names
NONE = {"value": None}

TITLES = {
    "auc_micro": "AUC micro",
    "auc_macro": "AUC macro (strict)",
    "auc_macro_padded": "AUC macro padded",
    "auc_macro_padded01": "AUC macro padded 0/1",
    "ap": "average precision",
    "eer": "equal error rate",
}
PLACES = {
    "pixel_auc_40": "pixel AUC, 40 % rule",
    "pixel_auc": "pixel AUC",
    "rbdc": "RBDC",
    "tbdc": "TBDC",
}


def table(metrics: Mapping[str, Any]) -> str:
    """The text that a command prints: figures × 100 with intervals, how the controls do, and what
    the words mean; no line longer than 100 columns.

    Args:
      metrics: the content of `metrics.json`.
    """
    columns = shown(metrics)
    rows = [_heads(columns)]
    for name, title in TITLES.items():
        figures = [metrics["protocols"][p][v][name] for p, v in columns]
        rows += _rows(title, figures)
        if name == "ap":
            rows.append(("  chance", *(_chance(figure) for figure in figures)))
    for result, own in metrics["results"].items():
        figures = [own[p][v]["auc_micro"] if p in own else NONE for p, v in columns]
        rows += _rows(f"AUC micro, {result}", figures)
    lines = [*_about(metrics, columns), "", *aligned(rows), *_places(metrics), ""]
    lines += [*alarm_lines(metrics), ""]
    if not metrics["data"]["controls_saw_frames"]:
        lines.append("controls that look at frames were not made: give --root and --data")
    for protocol, variant in columns:
        for metric in ("auc_micro", "auc_macro"):
            said = mark(metrics, protocol, variant, metric)
            lines.append(f"{protocol} {variant}, {TITLES[metric]}: {said}")
    return "\n".join(wrapped([*lines, "", *legend("\n".join(lines))]))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, columns two spaces apart; the first begins at the left, the others
    end at the right. A first cell that would make them wider than 100 columns is cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rest = sum(widths[1:]) + 2 * len(widths[1:])
    first = max(min(widths[0], WIDTH - rest), 12)
    lines = []
    for title, *cells in rows:
        title = title if len(title) <= first else f"{title[: first - 1]}…"
        lines.append(
            f"{title:<{first}}"
            + "".join(f"  {c:>{w}}" for c, w in zip(cells, widths[1:], strict=True))
        )
    return [line.rstrip() for line in lines]


def wrapped(lines: Iterable[str]) -> list[str]:
    """Lines of at most 100 columns; what goes on is indented."""
    found = []
    for line in lines:
        fits = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": "  "}
        found += textwrap.wrap(line, WIDTH, **fits) if len(line) > WIDTH else [line]
    return found


def _heads(columns):
    return ("", *(f"{protocol} {variant}" for protocol, variant in columns))


def _rows(title, figures):
    """A figure of each column, the intervals beside them, or below where there are many columns."""
    texts = [figure_text(figure) for figure in figures]
    if len(texts) <= MOST_BESIDE:
        return [(title, *texts)]
    parts = [text.partition(" ")[::2] for text in texts]
    values, intervals = zip(*parts, strict=True)
    return [(title, *values), *([("", *intervals)] if any(intervals) else [])]


def _about(metrics, columns):
    """What was evaluated, and what is not said of it and why."""
    data = metrics["data"]
    videos = counted(data["videos"], "video")
    lines = [
        f"{videos}, {data['scored']} of {data['frames']} frames scored, "
        f"{data['positives']} anomalous; figures x 100{_over(metrics)}"
    ]
    for why, titles in _reasons(metrics, columns).items():
        lines.append(f"no interval for {', '.join(titles)}: {why}")
    if data["macro_skipped"]:
        names, more = data["macro_skipped"][:NAMED], len(data["macro_skipped"]) - NAMED
        lines.append(
            f"strict macro leaves out videos of one class: {', '.join(names)}"
            + (f" and {more} more" if more > 0 else "")
        )
    if metrics["part_means"]:
        means = ", ".join(f"{name} {mean:.4g}" for name, mean in metrics["part_means"].items())
        lines.append(f"means over the frames: {means}")
    if len(columns) < len(PROTOCOLS) * len(VARIANTS):
        lines.append("raw alone is shown where the method's score has no smoothing")
    return lines


def _reasons(metrics, columns):
    """Why figures have no interval → the titles of those figures."""
    reasons: dict[str, dict[str, None]] = {}
    for protocol, variant in columns:
        for name, title in TITLES.items():
            figure = metrics["protocols"][protocol][variant][name]
            if figure["value"] is not None and figure["low"] is None:
                reasons.setdefault(figure["why"], {})[title] = None
    return reasons


def _over(metrics):
    """What the intervals are over; nothing where no figure has one."""
    figures = [
        figure
        for variants in metrics["protocols"].values()
        for own in variants.values()
        for figure in own.values()
        if figure.get("low") is not None
    ]
    scenes = metrics["data"].get("scenes")
    over = f"{scenes} scenes" if scenes else "videos"
    return f", {100 * figures[0]['level']:g} % intervals over {over}" if figures else ""


def _places(metrics):
    """Figures of places in the frame, a line each; where all lack for one reason, that."""
    first = metrics["protocols"]["paper"]["raw"]
    reasons = {first[name].get("why") for name in PLACES if first[name]["value"] is None}
    if len(reasons) == 1 and all(first[name]["value"] is None for name in PLACES):
        return ["", f"where in the frame: {reasons.pop()}"]
    rows = [
        (
            title,
            figure_text(first[name]) if first[name]["value"] is not None else first[name]["why"],
        )
        for name, title in PLACES.items()
    ]
    return ["", *(f"{title:<22}  {said}" for title, said in rows)]


def alarm_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The calibrated threshold and its alarms on the test set in words, or why there are none."""
    found, seen = metrics["calibration"], metrics["events"]
    if found.get("threshold") is None:
        return [f"no threshold: {found['why']}"]
    lines = [
        f"threshold {found['threshold']:.4g} (online raw) for {count(found['rate_per_hour'])} "
        f"false alarms an hour ({count(found['rate_low'])} to {count(found['rate_high'])}),",
        f"  from {duration(found['hours'])} of {found['source']} footage",
    ]
    if found["warning"]:
        lines.append(found["warning"])
    recall, rate, delay = (
        seen["recall"],
        seen["false_alarms_per_hour"],
        seen["median_delay_seconds"],
    )
    words = [f"on the test set {seen['recalled']} of {counted(seen['events'], 'event')}"]
    if recall["value"] is not None:
        words[0] += f", recall {in_words(recall)}"
    if delay is not None:
        words.append(f"median delay {delay:.3g} s")
    if rate["value"] is not None:
        low, high = count(rate["low"]), count(rate["high"])
        words.append(
            f"{counted(seen['false_alarms'], 'false alarm')} in {duration(seen['normal_hours'])} "
            f"of normal frames: {count(rate['value'])} an hour ({low} to {high}), "
            f"{100 * seen['normal_in_alarm']:.0f} % of them in alarm"
        )
    return [*lines, words[0], *(f"  {more}" for more in words[1:])]


def count(number: float) -> str:
    """A number of things an hour: `0.33`, `98.7`, `1,083`."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def duration(hours: float) -> str:
    """Hours as people say them: `36.2 s`, `4.2 min`, `6 h`."""
    if hours < 1 / 30:
        return f"{3600 * hours:.3g} s"
    return f"{60 * hours:.3g} min" if hours < 2 else f"{hours:.3g} h"


def shown(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(protocol, variant) of every column worth showing: not `smoothed` where it equals `raw`."""
    return [
        (protocol, variant)
        for protocol in PROTOCOLS
        for variant in VARIANTS
        if variant == "raw"
        or metrics["protocols"][protocol][variant] != metrics["protocols"][protocol]["raw"]
    ]


def _chance(figure):
    return "–" if figure.get("chance") is None else f"{100 * figure['chance']:.1f}"


def figure_text(figure: Mapping[str, Any]) -> str:
    """A figure × 100 with its interval, like `97.0 (95.1 to 98.4)`, or a dash."""
    if figure["value"] is None:
        return "–"
    value = f"{100 * figure['value']:.1f}"
    if figure.get("low") is None:
        return value
    return f"{value} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def in_words(figure: Mapping[str, Any]) -> str:
    """`figure_text`, and in short why there is no interval."""
    text = figure_text(figure)
    lacks = figure["value"] is not None and figure.get("low") is None and figure.get("why")
    return f"{text} ({in_short(figure['why'])})" if lacks else text


def in_short(why: str) -> str:
    """The beginning of a reason, like `too few videos to say`."""
    return why.partition(":")[0]


def mark(metrics: Mapping[str, Any], protocol: str, variant: str, metric: str = "auc_micro") -> str:
    """Whether a method does better than the best control under the same protocol, in words."""
    controls = metrics["controls"][protocol][variant][metric]
    best = best_control(controls)
    beaten = metrics["beats_controls"][protocol][variant][metric]
    figure = metrics["protocols"][protocol][variant][metric]
    if best is None or figure["value"] is None:
        return "no figure to compare with the controls"
    name = control_text(best, controls[best])
    if beaten is None:
        return f"{in_short(figure.get('why', 'no interval'))} (best control: {name})"
    if beaten and not metrics["data"]["controls_saw_frames"]:
        return f"above the best control that looks at no frame ({name}); those that do are stronger"
    return f"{'above' if beaten else 'NOT above'} the best control ({name})"


def control_text(name: str, row: Mapping[str, Any]) -> str:
    """A control with its direction and its figure × 100, like `minus mean intensity 86.5`."""
    return f"{'minus ' if row['direction'] < 0 else ''}{name} {100 * row['value']:.1f}"

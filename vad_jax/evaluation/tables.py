"""The figures of `metrics.json` as plain text, the way a command prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vad_jax.evaluation.controls import best_control
from vad_jax.evaluation.score_files import PROTOCOLS, VARIANTS

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
    """The text that a command prints: figures × 100 with intervals, and how the controls do.

    Args:
      metrics: the content of `metrics.json`.
    """
    data = metrics["data"]
    columns = shown(metrics)
    lines = [
        f"{data['videos']} videos, {data['scored']} of {data['frames']} frames scored, "
        f"{data['positives']} anomalous; figures x 100, {_level(metrics)} intervals over videos",
        "",
        _row("", [f"{protocol} {variant}" for protocol, variant in columns]),
    ]
    for name, title in TITLES.items():
        cells = [figure_text(metrics["protocols"][p][v][name]) for p, v in columns]
        lines.append(_row(title, cells))
        if name == "ap":
            lines.append(_row("  chance", [_chance(metrics, p, v) for p, v in columns]))
    first = metrics["protocols"]["paper"]["raw"]
    for name, title in PLACES.items():
        said = figure_text(first[name]) if first[name]["value"] is not None else first[name]["why"]
        lines.append(f"{title:<26}{said:>22}")
    for result, own in metrics["results"].items():
        cells = [figure_text(own[p][v]["auc_micro"]) if p in own else "–" for p, v in columns]
        lines.append(_row(f"AUC micro, {result}", cells))
    means = ", ".join(f"{name} {mean:.4g}" for name, mean in metrics["part_means"].items())
    lines.append(f"means over the frames: {means}")
    if data["macro_skipped"]:
        lines.append(
            f"strict macro leaves out videos of one class: {', '.join(data['macro_skipped'])}"
        )
    if len(columns) < len(PROTOCOLS) * len(VARIANTS):
        lines.append("raw alone is shown where the method's score has no smoothing")
    lines.append("")
    lines += [*alarm_lines(metrics), ""]
    if not data["controls_saw_frames"]:
        lines.append("controls that look at frames were not made: give --root and --data")
    for protocol, variant in columns:
        for metric in ("auc_micro", "auc_macro"):
            said = mark(metrics, protocol, variant, metric)
            lines.append(f"{protocol} {variant}, {TITLES[metric]}: {said}")
    return "\n".join(lines)


def alarm_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The calibrated threshold and its alarms on the test set in words, or why there are none."""
    found, seen = metrics["calibration"], metrics["events"]
    if found.get("threshold") is None:
        return [f"no threshold: {found['why']}"]
    lines = [
        f"threshold {found['threshold']:.4g} (online raw) for {count(found['rate_per_hour'])} "
        f"false alarms an hour ({count(found['rate_low'])} to {count(found['rate_high'])}), from "
        f"{duration(found['hours'])} of {found['source']} footage"
    ]
    if found["warning"]:
        lines.append(found["warning"])
    recall, rate, delay = (
        seen["recall"],
        seen["false_alarms_per_hour"],
        seen["median_delay_seconds"],
    )
    words = [f"on the test set {seen['recalled']} of {seen['events']} events"]
    if recall["value"] is not None:
        words[0] += f", recall {figure_text(recall)}"
    if delay is not None:
        words.append(f"median delay {delay:.3g} s")
    if rate["value"] is not None:
        words.append(
            f"{seen['false_alarms']} false alarms in {duration(seen['normal_hours'])} of normal "
            f"frames: {count(rate['value'])} an hour ({count(rate['low'])} to "
            f"{count(rate['high'])}), {100 * seen['normal_in_alarm']:.0f} % of them in alarm"
        )
    return [*lines, "; ".join(words)]


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


def _row(title, cells):
    return f"{title:<26}" + "".join(f"{cell:>22}" for cell in cells).rstrip()


def _level(metrics):
    figures = (metrics["protocols"][p][v]["auc_micro"] for p in PROTOCOLS for v in VARIANTS)
    level = next((figure["level"] for figure in figures if "level" in figure), 0.95)
    return f"{100 * level:g} %"


def _chance(metrics, protocol, variant):
    chance = metrics["protocols"][protocol][variant]["ap"].get("chance")
    return "–" if chance is None else f"{100 * chance:.1f}"


def figure_text(figure: Mapping[str, Any]) -> str:
    """A figure × 100 with its interval, like `97.0 (95.1 to 98.4)`, or a dash."""
    if figure["value"] is None:
        return "–"
    value = f"{100 * figure['value']:.1f}"
    if figure.get("low") is None:
        return value
    return f"{value} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def mark(metrics: Mapping[str, Any], protocol: str, variant: str, metric: str = "auc_micro") -> str:
    """Whether a method does better than the best control under the same protocol, in words."""
    controls = metrics["controls"][protocol][variant][metric]
    best = best_control(controls)
    beaten = metrics["beats_controls"][protocol][variant][metric]
    if best is None or beaten is None:
        return "no figure to compare with the controls"
    name = control_text(best, controls[best])
    if beaten and not metrics["data"]["controls_saw_frames"]:
        return f"above the best control that looks at no frame ({name}); those that do are stronger"
    return f"{'above' if beaten else 'NOT above'} the best control ({name})"


def control_text(name: str, row: Mapping[str, Any]) -> str:
    """A control with its direction and its figure × 100, like `minus mean intensity 86.5`."""
    return f"{'minus ' if row['direction'] < 0 else ''}{name} {100 * row['value']:.1f}"

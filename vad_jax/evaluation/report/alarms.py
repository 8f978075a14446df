"""What a threshold does, and what boxes find, as facts for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vad_jax.evaluation.events import events
from vad_jax.evaluation.report import curves
from vad_jax.evaluation.score_files import Scored
from vad_jax.evaluation.tables import count, duration
from vad_jax.evaluation.thresholds import RATE_PER_HOUR, SCORES

MUCH = 0.2  # share of normal frames in alarm from which counts of alarms mislead


def facts(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """`facts` (title, text, notes) and `warnings`, or none and `why`."""
    found, seen = metrics["calibration"], metrics["events"]
    if found.get("threshold") is None:
        return {"facts": [], "why": found["why"]}
    of_rate = f"for {count(found['rate_per_hour'])} false alarms an hour"
    if found["asked_per_hour"] is None and found["rate_per_hour"] > RATE_PER_HOUR:
        of_rate += ", the fewest that so little footage can promise"
    reached = f"{count(found['rate_low'])} to {count(found['rate_high'])}"
    rows = [
        (
            "threshold",
            f"{found['threshold']:.4g}",
            of_rate,
            f"reached: {reached}, in 9 of 10 such calibrations",
            f"{duration(found['hours'])} of {found['source']} footage: {found['blocks']} x "
            f"{found['block_seconds']:g} s",
        ),
        _recall(seen),
        _false_alarms(seen),
    ]
    share, delay = seen["normal_in_alarm"], seen["median_delay_seconds"]
    if share is not None:
        rows.append(("normal frames in alarm", f"{100 * share:.1f} %", "of those with a score"))
    if delay is not None:
        rows.append(("median delay", f"{delay:.2g} s", "from an event's first frame to its alarm"))
    shown = [{"title": title, "text": text, "notes": notes} for title, text, *notes in rows]
    return {"facts": shown, "warnings": _warnings(found, seen)}


def _recall(seen):
    recall = seen["recall"]
    if recall["value"] is None:
        return "events recalled", "–", recall["why"]
    text = f"{seen['recalled']} of {seen['events']}"
    if recall["low"] is None:
        return "events recalled", text, f"{100 * recall['value']:.0f} %", recall["why"]
    interval = f"{100 * recall['low']:.0f} to {100 * recall['high']:.0f} %"
    return "events recalled", text, f"{100 * recall['value']:.0f} %, {interval} over videos"


def _false_alarms(seen):
    rate = seen["false_alarms_per_hour"]
    if rate["value"] is None:
        return "false alarms an hour", "–", rate["why"]
    return (
        "false alarms an hour",
        count(rate["value"]),
        f"{count(rate['low'])} to {count(rate['high'])}; {seen['false_alarms']} in "
        f"{duration(seen['normal_hours'])} of normal test frames",
        f"one alone is {count(1 / seen['normal_hours'])} an hour here",
    )


def _warnings(found, seen) -> list[str]:
    """What must be known before the facts are believed."""
    said = [found["warning"]] if found["warning"] else []
    if (share := seen["normal_in_alarm"] or 0) > MUCH:
        said.append(
            f"An alarm is on for {100 * share:.0f} % of the normal test frames. One that hardly "
            "ends recalls every event and counts as few false alarms, so that neither figure says "
            "much: calibrate on more normal footage, of the place and kind of these videos."
        )
    return said


def segments(scored: Scored, metrics: Mapping[str, Any]) -> list[np.ndarray]:
    """Which frames an alarm holds, `[F]` bool a video."""
    active = [np.zeros(len(labels), bool) for labels in scored.labels]
    seen, fps = metrics["events"], scored.meta.get("fps")
    if seen.get("recall") is None:
        return active
    lengths = (round(seen[name] * fps) for name in ("hold_seconds", "min_length_seconds"))
    options = dict(zip(("hold", "min_length"), lengths, strict=True))
    labels = [np.maximum(video, 0) for video in scored.labels]
    found = events(labels, scored.scores[SCORES], seen["threshold"], fps=fps, **options)
    for video, alarms in zip(active, found.segments, strict=True):
        for start, end in alarms.tolist():
            video[start:end] = True
    return active


def regions(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The curves of regions and tracks found, and how many all boxes find; None without masks."""
    found = metrics.get("regions")
    if not found:
        return None
    false, of_regions, of_tracks = np.array(found["curve"]).T
    inside = int(np.searchsorted(false, 1, "right"))
    x = np.append(false[:inside], 1.0)

    def path(share):
        end = np.interp(1.0, false, share)
        return curves.path(x, np.append(share[:inside], end))

    rows = [
        ("regions found", found["regions_found"], found["regions"]),
        ("tracks found", found["tracks_found"], found["tracks"]),
    ]
    shown = [
        {
            "title": title,
            "text": f"{number:,} of {whole:,}",
            "notes": [f"by all boxes, {count(found['false_per_frame'])} false ones a frame"],
        }
        for title, number, whole in rows
    ]
    return {"regions": path(of_regions), "tracks": path(of_tracks), "facts": shown}

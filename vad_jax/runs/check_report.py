"""What a check of a raw data set has found, as text for people and as figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from vad_jax.datasets.check import Row
from vad_jax.datasets.check_table import table
from vad_jax.datasets.names import shown
from vad_jax.datasets.splits import ignored
from vad_jax.runs.examining import Examined
from vad_jax.spelling import counted


def report(found: Examined) -> str:
    """The table, what is wrong, what is to be known, and the totals, as text."""
    dataset, rows = found.dataset, found.rows
    lines = [f"{dataset.name}, {dataset.layout} layout: {dataset.root}", ""]
    lines += [table(rows, found.published), ""]
    lines += [f"Wrong: {said}" for said in found.faults]
    lines += [f"Wrong: {said}" for said in _absent(rows)]
    here = [row for row in rows if row.frames is not None]
    lines += [f"Wrong: {said}" for said in _together((row, row.faults) for row in here)]
    lines += [f"Note: {said}" for said in (*found.notes, *_new_notes(found))]
    lines += [f"Note: {said}" for said in _together((row, row.notes) for row in rows)]
    for split, numbers in _splits(found).items():
        lines.append(
            f"{split}: {counted(numbers['videos'], 'video')}, "
            + counted(numbers["frames"], "frame")
            + (f", {numbers['anomalous']} anomalous" if numbers["anomalous"] is not None else "")
            + (f", {numbers['broken']} cannot be read" if numbers["broken"] else "")
        )
    others = [name for name in found.labels if name != found.used]
    beside = f"; also there: {', '.join(others)}" if others else ""
    lines.append(f"Labels used: {found.used or 'none'}{beside}")
    lines.append(f"Ignored: {ignored(dataset)}")
    lines.append(f"SHA-256 of names, sizes and labels: {found.digest}")
    lines.append(f"{'All is right' if found.right else 'Something is wrong'}. {found.seconds} s")
    return "\n".join(lines)


def _absent(rows: Sequence[Row]) -> list[str]:
    """A line a split for the published videos that are not there."""
    lines = []
    for split in ("train", "test"):
        names = [row.video for row in rows if row.split == split and row.frames is None]
        if len(names) == 1:
            lines.append(f"{split}: video {names[0]} is not there")
        elif names:
            lines.append(f"{split}: {len(names)} videos are not there: {shown(names)}")
    return lines


def _together(about: Iterable[tuple[Row, Sequence[str]]]) -> list[str]:
    """What is said of videos, one line for all of a split of which the same is said."""
    whose: dict[tuple[str, str], list[str]] = {}
    for row, sentences in about:
        for said in sentences:
            whose.setdefault((row.split, said), []).append(row.video)
    return [
        f"{split} {names[0]}: {said}"
        if len(names) == 1
        else f"{split}, {counted(len(names), 'video')}: {said} ({shown(names)})"
        for (split, said), names in whose.items()
    ]


def _new_notes(found: Examined) -> list[str]:
    """What was noted of the names, without counts and gaps, which the rows say better."""
    said = (" published", "the numbering has")
    return [note for note in found.dataset.notes if not any(words in note for words in said)]


def _splits(found: Examined) -> dict[str, dict[str, int | None]]:
    totals = {}
    for split in ("train", "test"):
        rows = [row for row in found.rows if row.split == split and row.frames is not None]
        anomalous = [row.anomalous for row in rows if row.anomalous is not None]
        totals[split] = {
            "videos": len(rows),
            "frames": sum(row.frames for row in rows),
            "anomalous": sum(anomalous) if anomalous else None,
            "broken": sum(row.broken for row in rows),
        }
    return totals


def figures(found: Examined) -> dict[str, Any]:
    """What `--json` prints: totals, every video, label sources, faults, notes."""
    return {
        "data": found.dataset.name,
        "layout": found.dataset.layout,
        "root": str(found.dataset.root),
        "right": found.right,
        "splits": _splits(found),
        "videos": [asdict(row) for row in found.rows],
        "labels": {
            name: {"videos": len(labels), "anomalous": sum(int(of.sum()) for of in labels.values())}
            for name, labels in found.labels.items()
        },
        "used": found.used,
        "faults": found.faults,
        "notes": [*found.notes, *found.dataset.notes],
        "ignored": found.dataset.ignored,
        "sha256": found.digest,
        "seconds": found.seconds,
    }

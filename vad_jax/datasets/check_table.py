"""The table that a check of a raw data set prints."""

from __future__ import annotations

from collections.abc import Sequence

from vad_jax.datasets.check import Row
from vad_jax.datasets.raw.counts import Part, Published

HEADER = (
    "split",
    "video",
    "frames / published",
    "height x width",
    "anomalous frames",
    "label sources",
    "mask frames",
    "verdict",
)


def table(rows: Sequence[Row], published: Published | None) -> str:
    """The rows as text: a line a video that is not right, and one for all others of a split.

    Args:
      rows: of both splits.
      published: what they were compared with, or None.
    """
    lines = [HEADER]
    for split in ("train", "test"):
        here = [row for row in rows if row.split == split]
        right = [row for row in here if row.verdict == "ok"]
        lines += [_line(row) for row in here if row.verdict != "ok"]
        if right:
            lines.append(_summary(right, published.part(split) if published else None))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _line(row: Row) -> tuple[str, ...]:
    return (
        row.split,
        row.video,
        _of(row.frames, row.expected),
        _size(row),
        _or(row.anomalous),
        "-" if row.agreeing is None else f"{row.agreeing[0]} of {row.agreeing[1]} agree",
        _or(row.masks),
        row.verdict,
    )


def _summary(rows: Sequence[Row], part: Part | None) -> tuple[str, ...]:
    """One line for all videos of a split that are right."""
    expected = [row.expected for row in rows]
    frames = part.frames if part and len(rows) == part.videos else None
    sizes = {_size(row) for row in rows}
    anomalous = [row.anomalous for row in rows if row.anomalous is not None]
    masks = [row.masks for row in rows if row.masks is not None]
    return (
        rows[0].split,
        f"{len(rows)} videos",
        _of(sum(row.frames for row in rows), frames if None in expected else sum(expected)),
        sizes.pop() if len(sizes) == 1 else f"{len(sizes)} kinds",
        _or(sum(anomalous) if anomalous else None),
        _agreement([row.agreeing for row in rows if row.agreeing]),
        _or(sum(masks) if masks else None),
        "ok",
    )


def _agreement(pairs: Sequence[tuple[int, int]]) -> str:
    if not pairs:
        return "-"
    low, most = min(agree for agree, _ in pairs), max(of for _, of in pairs)
    return f"{low} of {most} agree"


def _of(found: int | None, expected: int | None) -> str:
    return f"{_or(found)} / {_or(expected)}"


def _or(value: int | None) -> str:
    return "-" if value is None else str(value)


def _size(row: Row) -> str:
    if row.size is None:
        return "-"
    return f"{row.size[0]}x{row.size[1]} {'grey' if row.grey else 'colour'}"

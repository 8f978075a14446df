"""The table that a check of a raw data set prints."""

from __future__ import annotations

from collections.abc import Sequence

from vad_jax.datasets.check import Row
from vad_jax.datasets.raw.counts import Part, Published
from vad_jax.spelling import counted

HEADER = (
    "split",
    "video",
    "frames / published",
    "height x width",
    "anomalous",
    "label sources",
    "masks",
    "verdict",
)
WIDEST = 100  # columns of the table
GAP = "  "  # between columns
MANY = 6  # the lines below the table name five
SHORTEST = 10  # letters of a name that are left, whatever the other columns need


def table(rows: Sequence[Row], published: Published | None) -> str:
    """The rows as text: a line a video that is not right, and one for all others of a split.

    Videos of which the same is wrong are one line, too, from `MANY` on. Long names are cut in
    their middle.

    Args:
      rows: of both splits.
      published: what they were compared with, or None.
    """
    lines = [HEADER]
    for split in ("train", "test"):
        here = [row for row in rows if row.split == split]
        right = [row for row in here if row.verdict == "ok"]
        for alike in _alike([row for row in here if row.verdict != "ok"]):
            lines += [_summary(alike, None)] if len(alike) >= MANY else map(_line, alike)
        if right:
            lines.append(_summary(right, published.part(split) if published else None))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    others = sum(widths) - widths[1] + len(GAP) * (len(HEADER) - 1)
    widths[1] = min(widths[1], max(WIDEST - others, SHORTEST))
    lines = [(line[0], shortened(line[1], widths[1]), *line[2:]) for line in lines]
    return "\n".join(
        GAP.join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def shortened(name: str, width: int) -> str:
    """A name of at most `width` letters, cut in its middle.

    >>> shortened("Normal_Videos_003_x264", 12)
    'Normal…_x264'
    """
    if len(name) <= width:
        return name
    back = (width - 1) // 2
    return f"{name[: width - 1 - back]}…{name[len(name) - back :]}"


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows in their order, those together of which the same is wrong."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.verdict, *row.faults), []).append(row)
    return list(groups.values())


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
    """One line for videos of a split that are right, or of which the same is wrong."""
    expected = [row.expected for row in rows]
    frames = part.frames if part and len(rows) == part.videos else None
    sizes = {_size(row) for row in rows}
    anomalous = [row.anomalous for row in rows if row.anomalous is not None]
    masks = [row.masks for row in rows if row.masks is not None]
    return (
        rows[0].split,
        counted(len(rows), "video"),
        _of(
            None if rows[0].frames is None else sum(row.frames for row in rows),
            frames if None in expected else sum(expected),
        ),
        sizes.pop() if len(sizes) == 1 else f"{len(sizes)} kinds",
        _or(sum(anomalous) if anomalous else None),
        _agreement([row.agreeing for row in rows if row.agreeing]),
        _or(sum(masks) if masks else None),
        rows[0].verdict,
    )


def _agreement(pairs: Sequence[tuple[int, int]]) -> str:
    """How many sources of labels agree: of the video where the fewest do, or of all."""
    if not pairs:
        return "-"
    agree, of = min(pairs, key=lambda pair: (pair[0] - pair[1], pair[1]))
    most = max(of for _, of in pairs)
    if agree == of < most:  # not every source labels every video
        return f"{of} to {most} agree"
    return f"{agree} of {of} agree"


def _of(found: int | None, expected: int | None) -> str:
    return f"{_or(found)} / {_or(expected)}"


def _or(value: int | None) -> str:
    return "-" if value is None else str(value)


def _size(row: Row) -> str:
    if row.size is None:
        return "-"
    return f"{row.size[0]}x{row.size[1]} {'grey' if row.grey else 'colour'}"

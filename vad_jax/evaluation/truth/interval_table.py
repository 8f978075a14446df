"""`labels.csv`: rows `video,start,end[,class]`, 0-based, end exclusive, times like `12.5s` too.

A time is the frame that is seen nearest to it, by the frames' own times where the film tells them:
a rate that varies has no use for an average.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vad_jax.evaluation.truth.label_files import read_text
from vad_jax.spelling import composed, counted
from vad_jax.types import DataError

TOLERANCE = 0.001  # seconds: containers round times to milliseconds
HEADERS = (["video", "start", "end"], ["video", "start", "end", "class"])


class Row(NamedTuple):
    """One interval.

    Attributes:
      video: its name.
      start, end: frames, 0-based and half-open, as written: neither order nor length is checked.
      kind: the class, or an empty text where there is no such column.
      where: file and line, for messages.
    """

    video: str
    start: int
    end: int
    kind: str
    where: str


def read_intervals(
    file: Path,
    names: Collection[str],
    *,
    fps: Mapping[str, float] | None = None,
    times: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Row]:
    """The rows of a table in their order.

    Args:
      file: `labels.csv`.
      names: of the test videos.
      fps: video → frames a second, for times of videos that are not in `times`.
      times: video → when each of its frames is seen, seconds `[F]`, rising.

    Raises:
      DataError: no text, no such header, a row of another length, no test video, no number, or a
        time of a video that is over by then or of which neither times nor rate are known.
    """
    clock = _Clock(fps or {}, times or {})
    known = {composed(name): name for name in names}
    try:
        with io.StringIO(read_text(file), newline="") as lines:
            rows = csv.reader(lines)
            header = [field.strip() for field in next(rows, [])]
            if header not in HEADERS:
                raise DataError(
                    f"{file} begins with {','.join(header)!r}. Its first line is the header "
                    "`video,start,end` or `video,start,end,class`."
                )
            for row in rows:
                if not row:
                    continue
                where = f"{file}, line {rows.line_num}"
                fields = [field.strip() for field in row]
                if len(fields) != len(header):
                    raise DataError(f"{where} has {len(fields)} fields, its header {len(header)}.")
                name = known.get(composed(fields[0]))
                if name is None:
                    raise DataError(
                        f"{where} labels {fields[0]!r}, which is no test video. A video's name is "
                        "its path in the test folder without the suffix, like "
                        f"{next(iter(names), '')!r}."
                    )
                start, end = (_frame(field, name, clock, where) for field in fields[1:3])
                yield Row(name, start, end, "".join(fields[3:]), where)
    except csv.Error as error:
        raise DataError(f"{file} is no table of commas ({error}).") from None


def read_csv(
    file: Path,
    lengths: Mapping[str, int],
    *,
    fps: Mapping[str, float] | None = None,
    times: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """The table as frame labels, video → `[F]` uint8; a video without a row is normal.

    Args:
      file: `labels.csv`.
      lengths: test video → F.
      fps, times: as for `read_intervals`.

    Raises:
      DataError: as `read_intervals`, or an interval that is empty or leaves its video.
    """
    labels = {name: np.zeros(length, np.uint8) for name, length in lengths.items()}
    for name, start, end, _, where in read_intervals(file, lengths, fps=fps, times=times):
        if not 0 <= start < end <= lengths[name]:
            raise DataError(
                f"{where} labels frames {start} to {end} (end exclusive) of {name}, which has "
                f"{counted(lengths[name], 'frame')}. Write 0-based frames with start < end ≤ "
                "length."
            )
        labels[name][start:end] = 1
    return labels


class _Clock(NamedTuple):
    """What is known of when frames are seen: `fps` and `times` of `read_intervals`."""

    fps: Mapping[str, float]
    times: Mapping[str, np.ndarray]


def _frame(field: str, name: str, clock: _Clock, where: str) -> int:
    if re.fullmatch(r"\d{1,18}", field):
        return int(field)
    if not re.fullmatch(r"\d{1,18}(\.\d*)?s", field):
        raise DataError(f"{where} has {field!r}: write a frame, or a time in seconds like 12.5s.")
    seconds = float(field[:-1])
    times = clock.times.get(name)
    if times is not None:
        return _nearest(seconds, times, name, where)
    if not clock.fps.get(name):
        raise DataError(
            f"{where} gives a time, {field}, but {name} has no frame rate. Write frames, or say "
            "how many there are a second (--fps)."
        )
    return round(seconds * clock.fps[name])


def _nearest(seconds: float, times: np.ndarray, name: str, where: str) -> int:
    """The frame seen nearest to a time; F where the last one has been seen as long as its like."""
    last = times[-1] - times[-2] if len(times) > 1 else 0.0
    edges = np.append(times, times[-1] + last)
    if seconds > edges[-1] + max(last / 2, TOLERANCE):
        raise DataError(
            f"{where} gives the time {seconds:g}s, but {name} ends at {edges[-1]:.3f} s."
        )
    after = int(np.searchsorted(edges[:-1], seconds))
    before = max(after - 1, 0)
    return before if seconds - edges[before] <= edges[after] - seconds else after

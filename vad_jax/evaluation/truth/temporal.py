"""UCF-Crime's temporal annotation: one line a test video, its class and up to two intervals.

    Arson011_x264.mp4  Arson  150  420  680  1267

Frames are 1-based and inclusive, −1 where an interval is absent.

Source: datasets.md (UCF-Crime).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from vad_jax.evaluation.truth.label_files import read_text
from vad_jax.evaluation.truth.masks import ADVICE
from vad_jax.spelling import composed, counted
from vad_jax.types import DataError

NORMAL = "Normal"


class Annotation(NamedTuple):
    """One line.

    Attributes:
      event: the class, `Normal` for normal videos.
      intervals: 0-based and half-open, in order; ends may lie beyond the video.
      line: its number in the file, from 1.
    """

    event: str
    intervals: tuple[tuple[int, int], ...]
    line: int


def read_annotations(file: Path, *, weak: bool = False) -> dict[str, Annotation]:
    """Every line of the file by its video's name without the suffix.

    Lines that begin with `#` are skipped. Start 0 reads as 1.

    Args:
      file: `Temporal_Anomaly_Annotation.txt`.
      weak: whether an anomalous class may stand without an interval.

    Raises:
      DataError: a bad line, by its number: too few fields or too many, what is no number, end
        before start, intervals that overlap, a class unlike the video's name, a video twice, a
        normal video with an interval, an anomalous one without.
    """
    found: dict[str, Annotation] = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{file}, line {number}"
        fields = line.split()
        if len(fields) != 6:
            raise DataError(
                f"{where} has {len(fields)} fields, expected 6: video, class, start, end, start, "
                "end; −1 where an interval is absent."
            )
        name = composed(PurePosixPath(fields[0].replace("\\", "/")).stem)
        if name in found:
            raise DataError(
                f"{where} labels {name}, which line {found[name].line} does, too: remove one."
            )
        intervals = _intervals(fields[2:], where)
        _check_class(name, fields[1], intervals, where, weak=weak)
        found[name] = Annotation(fields[1], intervals, number)
    return found


def read_temporal(
    file: Path, lengths: Mapping[str, int], *, weak: bool = False
) -> dict[str, np.ndarray]:
    """The annotation as frame labels; ends beyond a video are clipped.

    Args:
      file: `Temporal_Anomaly_Annotation.txt`; lines of videos that are not asked for are checked
        and passed over.
      lengths: test video → F; a name may be a path, its last part counts.
      weak: as in `read_annotations`; such a video's frames are all normal here.

    Raises:
      DataError: a bad line, a video without one, an interval wholly past the video's end.
    """
    annotations = read_annotations(file, weak=weak)
    lines = {name: annotations.get(composed(PurePosixPath(name).name)) for name in lengths}
    missing = [name for name, line in lines.items() if line is None]
    if missing:
        raise DataError(
            f"{file} has no line for {', '.join(missing[:10])}{' …' if len(missing) > 10 else ''}. "
            f"Every test video needs one, with the class {NORMAL} where it is normal: the list of "
            "test videos and the annotation belong together."
        )
    labels = {}
    for name, (_, intervals, number) in lines.items():
        labels[name] = np.zeros(lengths[name], np.uint8)
        for start, end in intervals:
            if start >= lengths[name]:
                raise DataError(
                    f"{file}, line {number} labels frames {start + 1} to {end} of {name}, which "
                    f"has {counted(lengths[name], 'frame')}: the interval lies past the end. "
                    f"{ADVICE}"
                )
            labels[name][start:end] = 1
    return labels


def _intervals(fields, where):
    wrong = [field for field in fields if not re.fullmatch(r"[+-]?\d{1,18}", field)]
    if wrong:
        raise DataError(f"{where} has {wrong[0]!r} where a frame number belongs.")
    numbers = [int(field) for field in fields]
    intervals = []
    for start, end in zip(numbers[::2], numbers[1::2], strict=True):
        if start == end == -1:
            continue
        if start < 0 or end < max(start, 1):
            raise DataError(
                f"{where} has an interval from {start} to {end}. Frames count from 1, the end is "
                "not before the start, and an absent interval is −1 −1."
            )
        intervals.append((max(start, 1) - 1, end))
    intervals.sort()
    if len(intervals) == 2 and intervals[1][0] < intervals[0][1]:
        said = " and ".join(f"{start + 1} to {end}" for start, end in intervals)
        raise DataError(f"{where} has intervals that overlap: {said}. Join them into one.")
    return tuple(intervals)


def _check_class(name, event, intervals, where, *, weak):
    prefix = re.match(r"[A-Za-z]*", name)[0]
    if event != prefix:
        raise DataError(
            f"{where} says class {event} of {name}, whose name says {prefix or 'none'}. The class "
            "is the name up to its first digit or underscore."
        )
    if event == NORMAL and intervals:
        raise DataError(f"{where}: {name} is {NORMAL} and has an interval. Normal lines have none.")
    if event != NORMAL and not intervals and not weak:
        raise DataError(
            f"{where}: {name} is {event} and has no interval. Only a weak annotation, a class a "
            "video, goes without."
        )

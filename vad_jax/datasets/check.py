"""Every video of a raw data set decoded, counted, and compared with what is published.

What labels and masks say is added to the same rows by the command `vad_jax.prepare`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from vad_jax import messages
from vad_jax.data.decoder import Decoded
from vad_jax.data.source import Source
from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.names import first_missing
from vad_jax.datasets.raw.counts import Part, Published, by_name, fewer
from vad_jax.disguise import disguise_of
from vad_jax.spelling import counted, natural
from vad_jax.types import DataError

THREADS = 4  # each waits for a decoder of its own
PROBE = (16, 16)  # frames are counted and their colours looked at, so few pixels come back
SAID = 3  # broken frames of a video that are named one by one
LONGEST_WINDOW = 16  # frames, of the published methods
VERDICTS = ("ok", "unknown", "different", "missing")  # the later outweighs

Verdict = Literal["ok", "unknown", "different", "missing"]


@dataclass
class Row:
    """One video and all that is known of it.

    Attributes:
      split: `train` or `test`.
      video: its name.
      frames: as decoded, broken ones counted; None where the video is not there.
      expected: as published, or None.
      size: (height, width), or None where no frame could be read.
      grey: whether all channels are equal.
      anomalous: frames, by the labels that are used.
      agreeing: label sources that say what the used one says, and all that label the video.
      masks: how many there are.
      broken: frames that cannot be read.
      verdict: the worst of what was found.
      faults: what is wrong, a sentence each.
      notes: what is not wrong, but to be known.
    """

    split: Literal["train", "test"]
    video: str
    frames: int | None = None
    expected: int | None = None
    size: tuple[int, int] | None = None
    grey: bool = False
    anomalous: int | None = None
    agreeing: tuple[int, int] | None = None
    masks: int | None = None
    broken: int = 0
    verdict: Verdict = "ok"
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def blame(self, verdict: Verdict, fault: str) -> None:
        """Adds a fault; the verdict becomes the worse of the two."""
        self.verdict = max(self.verdict, verdict, key=VERDICTS.index)
        self.faults.append(fault)


class Seen(NamedTuple):
    """What decoding a video shows.

    Attributes:
      frames, size, grey: as of `Row`.
      broken: the messages of frames that cannot be read.
      fault: why the video cannot be read, or None.
      note: that a film is cut off or damaged, and how this shows; or None.
    """

    frames: int
    size: tuple[int, int] | None
    grey: bool
    broken: tuple[str, ...]
    fault: str | None
    note: str | None


def rows(
    dataset: Dataset,
    published: Published | None,
    *,
    on_bad_frame: Literal["error", "skip"] = "error",
    progress: bool = True,
) -> tuple[list[Row], list[str]]:
    """A row a video of both splits, in order, those that are missing last; and what is wrong
    with the set as a whole.

    Args:
      dataset: as opened.
      published: what to compare with, or None.
      on_bad_frame: whether a frame that cannot be read is a fault (`error`) or noted (`skip`).
      progress: whether a bar is shown.

    Raises:
      DataError: videos that are Git LFS pointers, web pages or the like.
    """
    splits = (("train", dataset.training), ("test", dataset.testing))
    known = {split: published.part(split) if published else None for split, _ in splits}
    faults = list(published.faults) if published else []
    table: list[Row] = []
    everything = [source for _, sources in splits for source in sources]
    _check_disguises(everything)
    seen = _all_seen(everything, total=_total(known, splits), progress=progress)
    size = (published.size if published else None) or _usual([s.size for s in seen.values()])
    for split, sources in splits:
        here = [
            _row(split, source, seen[id(source)], known[split], published) for source in sources
        ]
        for row, source in zip(here, sources, strict=True):
            _broken(row, seen[id(source)], on_bad_frame)
        for row in here:
            if row.size and row.size != size:
                row.blame("different", f"frame 0 is {_by(row.size)}, the set's are {_by(size)}")
        table += here + _missing(split, sources, known[split])
        faults += _totals(split, here, known[split])
    if published and published.own_names:
        both = {s.name for s in dataset.training} & {s.name for s in dataset.testing}
        faults += [f"{name} is a training video and a test video" for name in sorted(both)]
    return table, faults


def _check_disguises(sources: Sequence[Source]) -> None:
    """Raises DataError where the first file of a video is no picture or film by its first bytes."""
    first = [source.images[0] if source.images else source.file for source in sources]
    found = [(path, what) for path in first if (what := disguise_of(path))]
    if found:
        path, what = found[0]
        raise DataError(
            f"{path} is {what}. So are {len(found)} of {counted(len(sources), 'video')}, as far as "
            "their first files tell."
        )


def _row(split, source: Source, seen: Seen, part: Part | None, published: Published | None) -> Row:
    row = Row(split, source.name, seen.frames, size=seen.size, grey=seen.grey)
    lengths = by_name(part.lengths) if part else {}
    if lengths and natural(source.name) not in lengths:
        row.blame("unknown", "no video of this name is published")
    row.expected = lengths.get(natural(source.name))
    if row.expected is not None and seen.frames != row.expected:
        verdict = "missing" if seen.frames < row.expected else "different"
        row.blame(verdict, fewer(source, row.expected, first=published.first, here=seen.frames))
    elif numbers := _numbers(source):
        if float(np.median(np.diff(numbers))) == 1:
            if gap := _gap(source, numbers):
                row.blame("missing", gap)
        else:
            first, second = (path.name for path in source.images[:2])
            row.notes.append(
                f"names do not count frames one by one ({first}, {second} …), so that a missing "
                "one is not seen"
            )
    if seen.fault:
        row.blame("different", seen.fault)
    if seen.note and seen.frames == row.expected:
        row.notes.append(seen.note)  # cut off or not: it is as it is published
    elif seen.note:
        row.blame("different", seen.note)
    if published and published.grey and seen.size and not seen.grey:
        row.notes.append("its frames have colour, the published ones have none")
    if 0 < seen.frames < LONGEST_WINDOW:
        row.notes.append(
            f"{counted(seen.frames, 'frame')}: no score by a method whose window is longer (2 to "
            f"{LONGEST_WINDOW} frames)"
        )
    return row


def _broken(row: Row, seen: Seen, on_bad_frame: str) -> None:
    """What is said of frames that cannot be read."""
    row.broken = len(seen.broken)
    lines = list(seen.broken[:SAID])
    if row.broken > SAID:
        lines.append(f"{row.broken} frames cannot be read, {SAID} of them named here")
    if on_bad_frame == "skip":
        row.notes += lines
        return
    for line in lines:
        row.blame("different", line)


def _numbers(source: Source) -> list[int] | None:
    """The numbers at the end of the images' names, of two or more images that all have one."""
    found = [re.fullmatch(r"(.*?)(\d+)", path.stem) for path in source.images or ()]
    if len(found) < 2 or not all(found):
        return None
    return [int(name[2]) for name in found]


def _gap(source: Source, numbers: Sequence[int]) -> str | None:
    """First and last number against the count of images."""
    low, high = numbers[0], numbers[-1]
    if high - low + 1 == len(numbers):
        return None
    first, last = source.images[0].name, source.images[-1].name
    missing = first_missing(source, first=low, frames=high - low + 1)
    said = f"{counted(len(numbers), 'frame')}, but their names run from {first} to {last}"
    return f"{said}, first missing {missing}" if missing else said


def _missing(split, sources: Sequence[Source], part: Part | None) -> list[Row]:
    """Rows of the published videos that are not there."""
    there = {natural(source.name) for source in sources}
    found = []
    for name, frames in (part.lengths if part else {}).items():
        if natural(name) not in there:
            row = Row(split, name, expected=frames)
            row.blame("missing", "the video is not there")
            found.append(row)
    return found


def _totals(split, here: Sequence[Row], part: Part | None) -> list[str]:
    """Videos against the published number, and all frames where no video's own are published."""
    if part is None:
        return []
    if len(here) != part.videos:
        return [f"{split}: {counted(len(here), 'video')}, {part.videos} published"]
    frames = sum(row.frames for row in here)
    if part.frames in (None, frames) or any(row.expected is not None for row in here):
        return []
    return [f"{split}: {counted(frames, 'frame')} in all videos, {part.frames} published"]


def _all_seen(sources: Sequence[Source], *, total: int | None, progress: bool) -> dict[int, Seen]:
    """Each source's frames, by its `id`: training and test videos may have equal names."""
    workers = min(THREADS, os.cpu_count() or 1)
    hidden = {} if progress else {"disable": True}
    with (
        messages.progress(desc="decoding", unit="frame", total=total, **hidden) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        try:
            found = list(pool.map(lambda source: look(source, each=bar.update), sources))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {id(source): seen for source, seen in zip(sources, found, strict=True)}


def look(source: Source, *, each: Callable[[], object] = lambda: None) -> Seen:
    """Decodes a video from the first frame to the last, in constant memory.

    Args:
      source: the video.
      each: called after every frame.
    """
    frames, size, grey, broken, fault = 0, None, True, [], None
    decoded = Decoded(source, colour="bgr", size=PROBE)
    try:
        for picture in decoded:
            frames += 1
            if isinstance(picture, DataError):
                broken.append(str(picture))
            else:
                size = size or picture.source_size
                grey = grey and bool((picture.pixels == picture.pixels[..., :1]).all())
            each()
    except DataError as error:  # two sizes, nothing readable, a decoder that died
        fault = str(error)
        frames = len(source.images) if source.images else frames
    if size is None and not fault:
        fault = f"Video {source.name} has no frame that can be read"
    return Seen(frames, size, grey and size is not None, tuple(broken), fault, decoded.note)


def _total(known, splits) -> int | None:
    """Frames that there are to decode, as far as that is known before."""
    total = 0
    for split, sources in splits:
        if all(source.images for source in sources):
            total += sum(len(source.images) for source in sources)
        elif known[split] and known[split].frames:
            total += known[split].frames
        else:
            return None
    return total


def _usual(sizes: Sequence[tuple[int, int] | None]) -> tuple[int, int] | None:
    """The size that most videos have."""
    counts = Counter(size for size in sizes if size)
    return counts.most_common(1)[0][0] if counts else None


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} pixels"

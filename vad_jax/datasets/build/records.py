"""Records of a built set: chunks of consecutive frames with their truth, in plain values.

They are already what is stored: who writes them only copies. A frame that could not be read is in
no record, and neither is its truth: one ends before it and the next begins behind it.
Letters: F frames of a video, H W of a raw frame, R rows of tracks.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vad_jax.data.source import Source
from vad_jax.datasets.build.staging import Encoded, by, png
from vad_jax.spelling import counted
from vad_jax.types import DataError

CHUNK = 128  # frames of a record, at most


def nothing(name: Any) -> None:
    """What is known where nothing is."""


@dataclass(frozen=True)
class Known:
    """What is known of videos besides their frames; None where it is not known.

    Attributes:
      labels: video's name → uint8 `[F]`, 0 or 1.
      masks: video's name → iterator over its F masks, bool `[H, W]`.
      tracks: video's name → int `[R, 6]`, rows `track, frame, x0, y0, x1, y1`; 0-based, inclusive.
      classes: video → the class of the whole video.
    """

    labels: Callable[[str], np.ndarray | None] = nothing
    masks: Callable[[str], Iterator[np.ndarray] | None] = nothing
    tracks: Callable[[str], np.ndarray | None] = nothing
    classes: Callable[[Source], str | None] = nothing


class Chunk(NamedTuple):
    """The frames of a record, `first` to `stop` (exclusive) of the split's video `index`."""

    video: Encoded
    index: int
    first: int
    stop: int


def chunks(videos: Iterable[Encoded]) -> list[Chunk]:
    """The records that a split will hold, in order of (video, first frame)."""
    return [
        Chunk(video, index, first, min(first + CHUNK, stop))
        for index, video in enumerate(videos)
        for start, stop in video.runs
        for first in range(start, stop, CHUNK)
    ]


def shards(records: Sequence[Chunk], *, bytes_each: int) -> list[list[Chunk]]:
    """Records in as many groups of consecutive ones as are needed for groups of about one size."""
    ends = np.cumsum([_share(chunk) for chunk in records])
    groups: dict[int, list[Chunk]] = {}
    for chunk, end in zip(records, ends, strict=True):
        groups.setdefault(int((end - 1) // bytes_each), []).append(chunk)
    return list(groups.values())


def examples(records: Iterable[Chunk], known: Known) -> Iterator[tuple[str, dict[str, Any]]]:
    """Records as plain values under their keys `VIDEO/FIRST`.

    Pictures are bytes. What is not known is an empty list or text. Frames of tracks count from the
    video's beginning.

    Raises:
      DataError: masks of another number or size than the frames.
    """
    for video, group in itertools.groupby(records, lambda chunk: chunk.video):
        part = list(group)
        labels, tracks = known.labels(video.name), known.tracks(video.name)
        at = part[0].first
        masks = _encoded_masks(video, known.masks(video.name), at)
        pictures = video.pictures((chunk.first, chunk.stop) for chunk in part)
        for chunk, frames in zip(part, pictures, strict=True):
            record = {
                "video": video.name,
                "video_index": chunk.index,
                "first_frame": chunk.first,
                "video_frames": video.frames,
                "fps": video.fps,
                "frames": frames,
                "label": [] if labels is None else labels[chunk.first : chunk.stop],
                "class": known.classes(video.source) or "",
                "mask": list(itertools.islice(masks, chunk.stop - at))[chunk.first - at :],
                "tracks": _columns(tracks, chunk),
            }
            yield f"{video.name}/{chunk.first}", record
            at = chunk.stop
        if at == video.runs[-1][1]:
            collections.deque(masks, maxlen=0)  # those of broken frames at the end are counted, too


def check_known(known: Known, videos: Sequence[Encoded]) -> None:
    """Raises DataError where labels of test videos are missing for some, or tracks leave them."""
    labels = {video.name: known.labels(video.name) for video in videos}
    number = sum(values is not None for values in labels.values())
    for video in videos:
        values = labels[video.name]
        if values is None and number:
            raise DataError(
                f"{video.name} has no labels, but {number} other test videos have. No label does "
                "not mean normal: label it, or take it out of the test set."
            )
        if values is not None and len(values) != video.frames:
            raise DataError(
                f"{video.name} has {counted(video.frames, 'frame')} but "
                f"{counted(len(values), 'label')}. Labels count every frame of the raw video: "
                "check that no frame file is missing."
            )
        tracks = known.tracks(video.name)
        if tracks is not None and len(tracks):
            first, last = tracks[:, 1].min(), tracks[:, 1].max()
            if first < 0 or last >= video.frames:
                raise DataError(
                    f"{video.name} has tracks in frames {first} to {last}, but {video.frames} "
                    "frames. Frames of tracks count from 0."
                )


def identity(
    training: Iterable[Encoded], testing: Iterable[Encoded], labels: Callable[[str], Any]
) -> str:
    """SHA-256 over names, lengths and raw sizes of all videos, and the labels.

    It says which data these are, and depends neither on the size of delivery nor on how frames
    are encoded.

    Args:
      training: videos in order.
      testing: videos in order.
      labels: test video's name → uint8 `[F]`, or None.
    """
    videos, told = [], hashlib.sha256()
    for split, part in (("train", training), ("test", testing)):
        for video in part:
            videos.append((split, video.name, video.frames, video.size))
            values = labels(video.name) if split == "test" else None
            if values is not None:
                told.update(f"{video.name}\0{len(values)}\0".encode())
                told.update(np.asarray(values).astype(np.uint8).tobytes())
    return hashlib.sha256(json.dumps([videos, told.hexdigest()]).encode()).hexdigest()


def _share(chunk: Chunk) -> int:
    """Bytes of a chunk, as if all frames of its video were equally large."""
    size = chunk.video.path.stat().st_size
    return size * (chunk.stop - chunk.first) // (chunk.video.frames - len(chunk.video.broken))


def _columns(tracks: np.ndarray | None, chunk: Chunk) -> dict[str, np.ndarray]:
    rows = np.zeros((0, 6), np.int32) if tracks is None else np.asarray(tracks).astype(np.int32)
    rows = rows[(rows[:, 1] >= chunk.first) & (rows[:, 1] < chunk.stop)]
    return {"track": rows[:, 0], "frame": rows[:, 1], "box": rows[:, 2:]}


def _encoded_masks(
    video: Encoded, masks: Iterator[np.ndarray] | None, first: int
) -> Iterator[bytes]:
    """The masks from a frame on as PNG of one bit; nothing where there are none."""
    if masks is None:
        return
    number = first
    for number, mask in enumerate(itertools.islice(masks, first, None), first + 1):
        if number > video.frames:
            raise DataError(
                f"{video.name} has more masks than its {counted(video.frames, 'frame')}."
            )
        if mask.shape != video.size:
            raise DataError(
                f"{video.name}, frame {number - 1}: its mask has {by(mask.shape)} pixels, the "
                f"frame {by(video.size)}. Masks belong to raw frames."
            )
        yield png((mask != 0).astype(np.uint8), one_bit=True)
    if number < video.frames:
        raise DataError(
            f"{video.name} has {counted(video.frames, 'frame')} but {counted(number, 'mask')}."
        )

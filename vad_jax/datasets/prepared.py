"""A built set (`vad_jax.prepare --out`) as a raw folder, for those who have nothing else.

Its records are unpacked once into plain files under the cache: the encoded pictures as they are,
labels, masks and tracks in the forms of the generic folder. From there on it is read like any
other, and JPEG frames that were kept as they were give the very run that their raw folder gives.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vad_jax import user_folders
from vad_jax.data.decoder import MAX_FRAMES
from vad_jax.data.source import Source
from vad_jax.datasets.build.staging import PART, png
from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.folder import given_labels, open_folder
from vad_jax.spelling import composed, counted
from vad_jax.types import DataError

log = logging.getLogger(__name__)

CACHE = "~/.cache/vad_jax"  # as data.cache
FORMAT = 1  # of an unpacked folder; part of its name
INFO = "dataset_info.json"
LABELS = "labels"
PARTS = {"train": "training", "validation": "training", "test": "testing"}
SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png"}


def is_built(root: Path) -> bool:
    """Whether a folder holds a set that `vad_jax.prepare` or TensorFlow Datasets has built."""
    return (root / INFO).is_file()


def open_built(
    name: str, root: Path, *, labels: str | Path | None = None, cache: str | Path = CACHE
) -> Dataset:
    """A built set as the raw set of that name; its records are unpacked if they are not yet.

    Args:
      name: of the data set, as it was built.
      root: the built folder, which ends in the version: `vad_ucsd_ped2/original/1.0.0`.
      labels: a user's own path instead of the labels in the records.
      cache: folder for the unpacked files.

    Raises:
      DataError: another set, records that cannot be read or are none of ours, or no room.
    """
    builder = _builder(root)
    about = builder.info.metadata or {}
    if about.get("dataset") != name:
        raise DataError(
            f"{root} holds {builder.info.name}, built from {about.get('dataset', 'other data')}, "
            f"not {name} (data.name)."
        )
    resized = builder.info.config_name not in ("original", "original_intervals")
    place = user_folders.writable(cache, option="data.cache") / f"unpacked-{_key(root)}"
    order = _order(place)
    if order is None:
        _unpack(builder, root, place, resized=resized)
        order = _order(place)
    own = place / order["labels"] if order["labels"] else None
    notes = list(about.get("notes", ()))
    if resized:
        notes.append(
            f"config {builder.info.config_name}: frames are resized, masks and tracks belong to "
            "the raw ones and are left out; config original has them"
        )
    dataset = open_folder(name, place)
    return replace(
        dataset,
        labels=given_labels(labels) if labels else own,
        layout=about.get("layout", "folder"),
        training=_ordered(dataset.training, order["training"]),
        testing=_ordered(dataset.testing, order["testing"]),
        fps=order["fps"] or None,
        notes=tuple(notes),
    )


def _builder(root: Path):
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(root)
    except Exception as error:  # it may be anything that has a file of that name
        raise DataError(f"{root} is no built set that can be read ({error}).") from None


def _key(root: Path) -> str:
    """Names an unpacked folder by the files that it comes from."""
    files = sorted(path for path in root.iterdir() if path.is_file())
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    facts = [FORMAT, str(root.resolve()), stamps]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _order(place: Path) -> dict[str, Any] | None:
    """What is known of an unpacked folder, or None where it is not there or damaged."""
    if not place.is_dir():
        return None
    try:
        order = json.loads((place / "order.json").read_text())
        return {key: order[key] for key in ("training", "testing", "fps", "labels")}
    except (OSError, ValueError, KeyError) as error:
        log.warning("Unpacking again: %s is damaged (%s).", place, error)
        shutil.rmtree(place)
        return None


def _ordered(sources: tuple[Source, ...], names: list[str]) -> tuple[Source, ...]:
    """Videos in the order in which they were built."""
    at = {composed(name): position for position, name in enumerate(names)}
    return tuple(sorted(sources, key=lambda source: at[source.name]))


def _unpack(builder, root: Path, place: Path, *, resized: bool) -> None:
    """Writes a folder that appears whole or not at all."""
    about = builder.info.metadata or {}
    size, skipped = tuple(about.get("size", (1, 1))), about.get("skipped", {})
    log.info("Unpacking %s to %s.", root, place)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=PART) as folder:
            part = Path(folder) / place.name
            order: dict[str, Any] = {"training": [], "testing": [], "fps": 0.0}
            tracks = {}
            for split in builder.info.splits:
                for video in _videos(builder, split, root):
                    name = video[0]["video"]
                    if name in order[PARTS[split]]:
                        raise DataError(f"{root}: video {name} is in two places of it.")
                    _check_whole(video, skipped.get(f"{split}/{name}", ()), f"{root}, {split}")
                    order[PARTS[split]].append(name)
                    order["fps"] = video[0]["fps"]
                    if resized:
                        video = [record | {"mask": []} for record in video]
                    elif PARTS[split] == "testing":
                        tracks[name] = np.concatenate([record["tracks"] for record in video])
                    _write(video, part, PARTS[split], size)
            _write_tracks(part / "tracks", tracks)
            order["labels"] = None
            if (part / LABELS).is_dir():  # whose labels they are is said in every report
                order["labels"] = f"{Path(about.get('label_source') or 'labels').name} (built)"
                (part / LABELS).rename(part / order["labels"])
            (part / "order.json").write_text(json.dumps(order))
            part.rename(place)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free, size = shutil.disk_usage(place.parent).free, int(builder.info.dataset_size)
            raise DataError(
                f"No room in {place.parent} to unpack {root}: about {size} bytes are needed, "
                f"{free} are free. Make room, or set another folder (data.cache)."
            ) from None
        if not place.is_dir():  # else another process was quicker
            raise


def _videos(builder, split: str, root: Path) -> Iterator[list[dict[str, Any]]]:
    """The records of each video of a split, pictures as bytes."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    if split not in PARTS:
        raise DataError(f"{root} has a split {split!r}: expected {', '.join(PARTS)}.")
    try:
        records = builder.as_data_source(
            split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
    except Exception as error:
        raise DataError(
            f"{root}, split {split} cannot be read ({error}). It must be array_record."
        ) from None
    video: list[dict[str, Any]] = []
    for number in range(len(records)):
        try:
            record = _plain(tf_example_pb2.Example.FromString(records[number]).features.feature)
        except Exception as error:
            raise DataError(f"{root}, split {split}, record {number}: {error}.") from None
        if video and record["video"] != video[0]["video"]:
            yield video
            video = []
        video.append(record)
    if video:
        yield video


def _plain(features) -> dict[str, Any]:
    """A record's values. Raises ValueError where they cannot be a video's."""

    def whole(key):
        return np.array(features[key].int64_list.value, np.int64)

    def bytes_of(key):
        return list(features[key].bytes_list.value)

    name = bytes_of("video")[0].decode()
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or str(path) != name:
        raise ValueError(f"the video is called {name!r}, which is no name")
    frames = bytes_of("frames")
    first, total = int(whole("first_frame")[0]), int(whole("video_frames")[0])
    if not (frames and first >= 0 and first + len(frames) <= total <= MAX_FRAMES):
        raise ValueError(f"{len(frames)} frames from {first} on, of a video of {total}")
    label, mask = whole("label"), bytes_of("mask")
    if len(label) not in (0, len(frames)) or len(mask) not in (0, len(frames)):
        raise ValueError(f"{len(frames)} frames, {len(label)} labels and {len(mask)} masks")
    tracks = [whole(f"tracks/{key}") for key in ("track", "frame")]
    return {
        "video": name,
        "first": first,
        "total": total,
        "fps": float(features["fps"].float_list.value[0]),
        "frames": frames,
        "label": label,
        "mask": mask,
        "tracks": np.column_stack([*tracks, whole("tracks/box").reshape(-1, 4)]),
    }


def _check_whole(video: list[dict[str, Any]], skipped: Sequence[int], where: str) -> None:
    """Raises DataError unless each frame of a video is in one record, or was skipped."""
    name, total = video[0]["video"], video[0]["total"]
    spans = [range(r["first"], r["first"] + len(r["frames"])) for r in video]
    here = [*(position for span in spans for position in span), *skipped]
    if len(here) != total or sorted(here) != list(range(total)):
        raise DataError(
            f"{where}: video {name} has {counted(len(here) - len(skipped), 'frame')} in its "
            f"records and {len(skipped)} that were skipped, expected {total} together, each once. "
            "Build the set again."
        )


def _write(video: list[dict[str, Any]], root: Path, part: str, size: tuple[int, int]) -> None:
    """The files of a video but its tracks. A frame that is in no record is an empty file."""
    name, total = video[0]["video"], video[0]["total"]
    suffix = SUFFIXES.get(video[0]["frames"][0][:2], ".png")
    frames: list[bytes] = [b""] * total
    masks: list[bytes] = [png(np.zeros(size, np.uint8), one_bit=True)] * total
    labels = np.zeros(total, np.uint8)
    for record in video:
        here = slice(record["first"], record["first"] + len(record["frames"]))
        frames[here] = record["frames"]
        if record["mask"]:
            masks[here] = record["mask"]
        if len(record["label"]):
            labels[here] = record["label"]
    _write_all(root / part / "frames" / name, frames, suffix)
    if any(len(record["label"]) for record in video):
        path = root / LABELS / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, labels)
    if any(record["mask"] for record in video):
        _write_all(root / "masks" / name, masks, ".png")


def _write_all(folder: Path, pictures: list[bytes], suffix: str) -> None:
    folder.mkdir(parents=True)
    for position, picture in enumerate(pictures):
        (folder / f"{position:08d}{suffix}").write_bytes(picture)


def _write_tracks(folder: Path, tracks: dict[str, np.ndarray]) -> None:
    """Rows `track,frame,x0,y0,x1,y1` of every video, where any has one."""
    if any(map(len, tracks.values())):
        for name, rows in tracks.items():
            path = folder / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(path, rows, "%d", ",")

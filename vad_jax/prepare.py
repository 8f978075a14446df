"""Checks a raw data set and builds it as records: frames decode, counts are right, labels agree.

    python -m vad_jax.prepare --data=ucsd_ped2 --root=FOLDER --check [--labels=FILE]
    python -m vad_jax.prepare --data=ucsd_ped2 --root=FOLDER --out=FOLDER [--size=original|256|64]
        [--on_bad_frame=error|skip]

Prints one table (a line a split where all is right, else a line a video where something is not)
and what is wrong. Exit code 0: all is right; 2: something is wrong, and nothing is built. The raw
folder is only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from absl import flags
from absl import logging as absl_logging

from vad_jax import cli

if TYPE_CHECKING:
    from vad_jax.datasets.check import Row
    from vad_jax.runs.examining import Examined


def report(found: Examined) -> str:
    """The table, what is wrong, what is to be known, and the totals, as text."""
    from vad_jax.datasets.check_table import table

    dataset, rows = found.dataset, found.rows
    lines = [f"{dataset.name}, {dataset.layout} layout: {dataset.root}", ""]
    lines += [table(rows, found.published), ""]
    lines += [f"Wrong: {said}" for said in found.faults]
    lines += [f"Wrong: {said}" for said in _absent(rows)]
    here = [row for row in rows if row.frames is not None]
    lines += [f"Wrong: {row.split} {row.video}: {said}" for row in here for said in row.faults]
    lines += [f"Note: {said}" for said in (*found.notes, *_new_notes(found))]
    lines += [f"Note: {row.split} {row.video}: {said}" for row in rows for said in row.notes]
    for split, numbers in _splits(found).items():
        lines.append(
            f"{split}: {numbers['videos']} videos, {numbers['frames']} frames"
            + (f", {numbers['anomalous']} anomalous" if numbers["anomalous"] is not None else "")
            + (f", {numbers['broken']} cannot be read" if numbers["broken"] else "")
        )
    others = [name for name in found.labels if name != found.used]
    beside = f"; also there: {', '.join(others)}" if others else ""
    lines.append(f"Labels used: {found.used or 'none'}{beside}")
    lines.append(f"Ignored: {dataset.ignored} entries (junk, _gt folders)")
    lines.append(f"SHA-256 of names, sizes and labels: {found.digest}")
    lines.append(f"{'All is right' if found.right else 'Something is wrong'}. {found.seconds} s")
    return "\n".join(lines)


def _absent(rows: Sequence[Row]) -> list[str]:
    """A line a split for the published videos that are not there."""
    from vad_jax.datasets.folder import shown

    lines = []
    for split in ("train", "test"):
        names = [row.video for row in rows if row.split == split and row.frames is None]
        if len(names) == 1:
            lines.append(f"{split}: video {names[0]} is not there")
        elif names:
            lines.append(f"{split}: {len(names)} videos are not there: {shown(names)}")
    return lines


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


def build(
    found: Examined,
    out: str | Path,
    *,
    size: str = "original",
    lossless: bool = False,
    on_bad_frame: Literal["error", "skip"] = "error",
    progress: bool = True,
) -> Path:
    """Builds a set that was examined as records, or goes on where a build was interrupted.

    Args:
      found: the examined set; of Avenue the labels in use decide which config is built.
      out: the folder of all built sets.
      size: `original`, `256` or `64`.
      lossless: whether frames of video files become PNG rather than JPEG of quality 95.
      on_bad_frame: `error`, or `skip`: frames that cannot be read are in no record.
      progress: whether bars are shown.

    Returns:
      The folder of the built set.

    Raises:
      VadError: something is wrong with the set, it is built already, or there is no room; or
        `out` is no place for a folder, or lies in the raw one.
    """
    from vad_jax import tfds
    from vad_jax.datasets.build import builders
    from vad_jax.types import DataError

    dataset = found.dataset
    if not found.right:
        raise DataError(f"{dataset.root} is not as it should be: nothing is built from it.")
    _check_place(Path(out), dataset.root)
    tests = [row for row in found.rows if row.split == "test"]
    known = tfds.known(dataset, {row.video: row.frames for row in tests})
    intervals = dataset.name == "avenue" and dataset.labels != dataset.masks
    built = builders.build(
        dataset,
        labels=known.labels,
        masks=known.masks,
        tracks=known.tracks,
        classes=known.classes,
        out=out,
        config=size + ("_intervals" if intervals else ""),
        lossless=lossless,
        on_bad_frame=on_bad_frame,
        progress=progress,
    )
    return Path(built.data_dir)


def _check_place(out: Path, root: Path) -> None:
    """Raises ConfigError unless built sets can be kept at `out`, outside a raw folder."""
    from vad_jax.types import ConfigError

    if out.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            f"--out={out} lies in {root}, which is only read: give a folder outside of it."
        )
    above = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    if not above.is_dir():
        raise ConfigError(f"--out={out}: {above} is a file. Give a folder for the built sets.")


def main() -> cli.Outcome:
    """The command: its exit code says whether all is right."""
    from vad_jax.runs.examining import check
    from vad_jax.types import ConfigError

    given = flags.FLAGS
    for name, what in (("data", "the data set's name"), ("root", "its folder")):
        if not given[name].value:
            raise ConfigError(f"Give {what}: --{name}=…")
    if bool(given.check) == bool(given.out):
        raise ConfigError(
            "Say where the set is to be built, --out=FOLDER, or give --check, which builds nothing."
        )
    out = Path(given.out or "").expanduser()
    if given.out:
        _check_place(out, Path(given.root).expanduser())
    found = check(given.data, given.root, labels=given.labels, on_bad_frame=given.on_bad_frame)
    print(report(found), flush=True)
    if given.check or not found.right:
        return cli.Outcome({**figures(found), "built": None}, exit_code=0 if found.right else 2)
    absl_logging.set_verbosity(absl_logging.ERROR)  # TFDS warns of a folder that is not filled yet
    built = build(
        found,
        out,
        size=given.size,
        lossless=given.lossless,
        on_bad_frame=given.on_bad_frame,
    )
    print(f"Built: {built}")
    return cli.Outcome({**figures(found), "built": str(built)})


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "Name of the data set, like ucsd_ped2, avenue or folder.")
    flags.DEFINE_string("root", None, "Its raw folder, which is only read.")
    flags.DEFINE_string("labels", None, "Label source that is used instead of the one found.")
    flags.DEFINE_bool("check", False, "Only look: build nothing.")
    flags.DEFINE_string("out", None, "Folder of the built sets, unless --check is given.")
    flags.DEFINE_enum("size", "original", ["original", "256", "64"], "Size of the built frames.")
    flags.DEFINE_enum(
        "on_bad_frame",
        "error",
        ["error", "skip"],
        "Whether a frame that cannot be read is wrong, or named, counted and left out.",
    )
    flags.DEFINE_bool("lossless", False, "Frames of video files become PNG, not JPEG.")
    cli.run(main)

"""A raw data set prepared: examined, reported, and built as records where all is right.

Source: datasets.md («prepare and prepare --check»).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from absl import logging as absl_logging

from vad_jax import messages
from vad_jax.data.levels import Levels, given_levels
from vad_jax.datasets.raw.avenue import frame_labels_of
from vad_jax.runs import examining
from vad_jax.runs.check_report import figures, report
from vad_jax.runs.examining import Examined
from vad_jax.types import ConfigError, DataError


class Prepared(NamedTuple):
    """The figures of a set, as `--json` prints them, and the exit code of the command."""

    figures: dict[str, Any]
    exit_code: int


def prepare(
    data: str,
    root: str | Path,
    *,
    labels: str | Path | None = None,
    fps: float | None = None,
    levels: str | Levels | None = None,
    check: bool = False,
    out: str | Path | None = None,
    size: Literal["original", "256", "64"] = "original",
    on_bad_frame: Literal["error", "skip"] = "error",
    lossless: bool = False,
    progress: bool = True,
) -> Prepared:
    """Examines a raw set, prints what is found, and builds it where all is right.

    Args:
      data: the set's name, as `data.name`.
      root: its folder, only read.
      labels: the label source that is used instead of the one found.
      fps: frames a second, where the data do not say.
      levels: the range of pictures with more than 8 bits a value, or its text, `LOW,HIGH`.
      check: whether nothing is built.
      out: the folder of all built sets, unless it is only checked.
      size, on_bad_frame, lossless: as for `build`.
      progress: whether bars are shown.

    Returns:
      Figures, and 0 where all is right, else 2.

    Raises:
      ConfigError: neither a place to build at nor a mere check is asked for, or both; or no place.
      DataError: as `examining.check` and `build`.
    """
    messages.speak()
    if check == bool(out):
        raise ConfigError(
            "Say where the set is to be built, --out=FOLDER, or give --check, which builds nothing."
        )
    if out:
        out = Path(out).expanduser()
        _check_place(out, Path(root).expanduser())
    found = examining.check(
        data,
        root,
        labels=labels,
        fps=fps,
        levels=given_levels(levels, "--levels"),
        on_bad_frame=on_bad_frame,
        progress=progress,
    )
    print(report(found), flush=True)
    if not out or not found.right:
        return Prepared({**figures(found), "built": None}, exit_code=0 if found.right else 2)
    how = {"lossless": lossless, "on_bad_frame": on_bad_frame, "progress": progress}
    with _only_errors():
        built = build(found, out, size=size, **how)
    print(f"Built: {built}")
    return Prepared({**figures(found), "built": str(built)}, exit_code=0)


@contextmanager
def _only_errors() -> Iterator[None]:
    """Keeps TFDS from warning of a folder that is not filled yet."""
    before = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        yield
    finally:
        absl_logging.set_verbosity(before)


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

    dataset = found.dataset
    if not found.right:
        raise DataError(f"{dataset.root} is not as it should be: nothing is built from it.")
    _check_place(Path(out), dataset.root)
    tests = [row for row in found.rows if row.split == "test"]
    known = tfds.known(dataset, {row.video: row.frames for row in tests})
    by_intervals = (
        dataset.name == "avenue"
        and dataset.labels != dataset.masks
        and frame_labels_of(dataset.labels) == "intervals"
    )
    built = builders.build(
        dataset,
        labels=known.labels,
        masks=known.masks,
        tracks=known.tracks,
        classes=known.classes,
        out=out,
        config=size + ("_intervals" if by_intervals else ""),
        lossless=lossless,
        on_bad_frame=on_bad_frame,
        progress=progress,
    )
    return Path(built.data_dir)


def _check_place(out: Path, root: Path) -> None:
    """Raises ConfigError unless built sets can be kept at `out`, outside a raw folder."""
    if out.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            f"--out={out} lies in {root}, which is only read: give a folder outside of it."
        )
    above = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    if not above.is_dir():
        raise ConfigError(f"--out={out}: {above} is a file. Give a folder for the built sets.")

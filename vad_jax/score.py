"""Scores videos that have no labels: a file, a folder of videos, a folder of frames.

    python -m vad_jax.score --workdir=runs/NAME --source=PATH [--output=FOLDER] [--overlay]
        [--threshold=2.5] [--fps=25]

Writes `NAME.csv` (frame, seconds, score; higher = stranger, empty where a frame has none) for each
video, with --overlay also `NAME.mp4`. Given again, the same command goes on: what is in
`manifest.json` with the same content, scorer and options is not scored again. Scores are those of
the protocol `online`: nothing of a video's future is used.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from tqdm import tqdm

from vad_jax import cli

log = logging.getLogger("vad_jax.score")  # __name__ is `__main__` in a command


class Options(NamedTuple):
    """What changes the files that are written: part of what the manifest compares.

    Attributes:
      overlay: whether an mp4 is drawn, too.
      threshold: a line in it, and in red the frames above; or None.
      fps: frames a second of folders of frames, which do not say it; or None.
    """

    overlay: bool = False
    threshold: float | None = None
    fps: float | None = None


PLAIN = Options()


def score(
    workdir: str | Path, source: str | Path, output: str | Path, options: Options = PLAIN
) -> dict[str, Any]:
    """Scores every video of `source` that the output folder does not hold yet.

    Args:
      workdir: of a finished run.
      source: a video file, a folder of frames, or a folder of such.
      output: where the files go, made if need be.
      options: see `Options`.

    Returns:
      `videos`, `frames` and `scored` frames of what was scored now, `skipped` (done before), and
      `left_out`: a line for each video or frame that has no score because of a fault.

    Raises:
      VadError: no finished run, nothing to score, nothing that can be read, or an output folder
        that cannot be written or belongs to another process.
    """
    import vad_jax
    from vad_jax.data.folder import sources
    from vad_jax.learning.workdir import locked
    from vad_jax.types import DataError

    detector, output = vad_jax.load(workdir), Path(output)
    found = sources(Path(source))
    with locked(output, "--output"):
        manifest = _Manifest(output, _scorer(detector, options))
        figures = {"videos": 0, "frames": 0, "scored": 0, "skipped": 0, "left_out": []}
        with tqdm(desc="scoring", unit="frame", disable=None) as bar:
            for number, video in enumerate(found, start=1):
                bar.set_postfix_str(f"video {number}/{len(found)} {video.name}")
                entry = manifest.find(video)
                if entry:
                    figures["skipped"] += 1
                else:
                    try:
                        entry = _one(detector, video, output, options, bar)
                    except DataError as error:
                        figures["left_out"].append(str(error))
                        log.warning("%s", error)
                        continue
                    manifest.add(video, entry)
                    figures["videos"] += 1
                    figures["frames"] += entry["frames"]
                    figures["scored"] += entry["scored"]
                figures["left_out"] += entry["notes"]
    if not figures["videos"] and not figures["skipped"]:
        raise DataError("Nothing could be scored: " + " ".join(figures["left_out"]))
    return figures


def _scorer(detector, options: Options) -> str:
    """Hash of all that a score depends on but the video."""
    from importlib import metadata

    facts = {
        "vad_jax": metadata.version("vad_jax"),
        "config": detector.config.to_json_best_effort(sort_keys=True),
        "checkpoint": detector.about,
        "statistics": detector.statistics,
        "options": options._asdict(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _one(detector, video, output: Path, options: Options, bar) -> dict[str, Any]:
    """Scores one video and writes its files; returns its entry in the manifest."""
    from vad_jax import overlay
    from vad_jax.data.decoder import Decoded
    from vad_jax.scoring import score_video

    spec = detector.method.inputs
    frames = Decoded(video, colour=spec.colour, size=(spec.height, spec.width))
    reading = _Reading(frames, spec.channels, bar)
    regions = overlay.Regions(detector) if options.overlay else None
    windows = score_video(detector.method, detector.variables, reading, each=regions)
    values = detector.fused(windows, protocol="online")
    if options.fps and video.images is not None:
        reading.seconds = [frame / options.fps for frame in range(len(reading.seconds))]
    path = output / f"{video.name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {path.relative_to(output).as_posix(): _write_csv(path, reading.seconds, values)}
    if regions is not None:
        drawn = path.with_suffix(".mp4")
        overlay.draw(drawn, video, values, regions, threshold=options.threshold, fps=options.fps)
        files[drawn.relative_to(output).as_posix()] = _sha256(drawn)
    scored = int(np.isfinite(values).sum())
    notes = [*reading.faults, *filter(None, [reading.frames.note])]
    if not scored:
        needs = f"no score, a window needs {spec.span} whole frames"
        notes.append(f"Video {video.name} ({windows.length} frames): {needs}.")
    return {"frames": windows.length, "scored": scored, "notes": notes, "files": files}


class _Reading:
    """The frames of a video for scoring; keeps the times and the faults it meets."""

    def __init__(self, frames, channels, bar):
        self.frames, self._channels, self._bar = frames, channels, bar
        self.seconds, self.faults = [], []

    def __iter__(self) -> Iterator[np.ndarray | None]:
        for picture in self.frames:
            if isinstance(picture, Exception):
                self.faults.append(str(picture))
                log.warning("%s", picture)
                self.seconds.append(None)
                yield None
            else:
                self.seconds.append(picture.seconds)
                yield np.broadcast_to(picture.pixels, (*picture.pixels.shape[:2], self._channels))
            self._bar.update()


def _write_csv(path: Path, seconds, values: np.ndarray) -> str:
    """Writes the file under another name first; returns its hash."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["frame", "seconds", "score"])
        for frame, (when, value) in enumerate(zip(seconds, values, strict=True)):
            when = "" if when is None else f"{when:.3f}"
            rows.writerow([frame, when, "" if math.isnan(value) else f"{value:.6g}"])
    temporary.replace(path)
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Manifest:
    """`manifest.json` of an output folder: which videos are done, by their content."""

    def __init__(self, folder: Path, scorer: str):
        self._path, self._scorer = folder / "manifest.json", scorer
        self._entries = {}
        if self._path.exists():
            try:
                self._entries = dict(json.loads(self._path.read_text())["videos"])
            except (ValueError, KeyError, TypeError):
                log.warning("%s is damaged: all videos are scored again.", self._path)

    def find(self, video) -> dict[str, Any] | None:
        """The entry of a video that is done: same bytes, same scorer, its files as written."""
        entry = self._entries.get(video.name)
        if not entry or entry["scorer"] != self._scorer:
            return None
        if entry["content"] != _content(video):
            return None
        for name, digest in entry["files"].items():
            path = self._path.parent / name
            if not path.is_file() or _sha256(path) != digest:
                return None
        return entry

    def add(self, video, entry: dict[str, Any]) -> None:
        entry = {"content": _content(video), "scorer": self._scorer, **entry}
        self._entries[video.name] = entry
        temporary = self._path.with_suffix(".part")
        temporary.write_text(json.dumps({"videos": self._entries}, indent=1) + "\n")
        temporary.replace(self._path)


def _content(video) -> str:
    from vad_jax.data.frames import digest

    return digest(video)


def main() -> cli.Outcome:
    from vad_jax.types import ConfigError

    given = flags.FLAGS
    for name, what in (("workdir", "the run's folder"), ("source", "a video or a folder")):
        if not given[name].value:
            raise ConfigError(f"Give {what}: --{name}=PATH.")
    output = Path(given.output or Path(given.workdir) / "scored")
    options = Options(given.overlay, given.threshold, given.fps)
    figures = score(given.workdir, given.source, output, options)
    done = f"{figures['videos']} videos scored, {figures['skipped']} were done before"
    print(f"{done}: {figures['scored']} of {figures['frames']} frames have a score. {output}")
    for line in figures["left_out"]:
        log.warning("Left out: %s", line)
    return cli.Outcome(figures, exit_code=3 if figures["left_out"] else 0)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of a finished run.")
    flags.DEFINE_string("source", None, "A video file, a folder of videos, or a folder of frames.")
    flags.DEFINE_string("output", None, "Where the files go; default WORKDIR/scored.")
    flags.DEFINE_bool("overlay", False, "Draw each video with score curve and error regions.")
    flags.DEFINE_float("threshold", None, "Score that is drawn as a line; above it is red.")
    flags.DEFINE_float("fps", None, "Frames a second of folders of frames.", lower_bound=1e-3)
    cli.run(main)

"""Scores videos that have no labels: a file, a folder of videos, a folder of frames.

    python -m vad_jax.score --workdir=runs/NAME --source=PATH [--output=FOLDER] [--fps=25]
        [--overlay [--threshold=2.5]]

Writes `NAME.csv` (frame, seconds, score; higher = stranger, empty where a frame has none) for each
video, with --overlay also `NAME.mp4`. Given again, the same command goes on: what `manifest.json`
holds with the same content, scorer and options is not scored again. Scores are those of the
protocol `online`: nothing of a video's future is used.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from tqdm import tqdm

from vad_jax import atomic as files
from vad_jax import cli
from vad_jax.types import CheckpointError, ConfigError, DataError

log = logging.getLogger("vad_jax.score")  # __name__ is `__main__` in a command


class Options(NamedTuple):
    """What changes the files that are written.

    Attributes:
      overlay: whether an mp4 is drawn, too.
      threshold: a line in it, and in red the frames above; or None.
      fps: frames a second of folders of frames, which do not say it; or None.
    """

    overlay: bool = False
    threshold: float | None = None
    fps: float | None = None


def score(
    workdir: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    overlay: bool = False,
    threshold: float | None = None,
    fps: float | None = None,
) -> dict[str, Any]:
    """Scores every video of `source` that the output folder does not hold yet.

    Args:
      workdir: of a finished run.
      source: a video file, a folder of frames, or a folder of such.
      output: where the files go, made if need be; not where the source lies.
      overlay, threshold, fps: see `Options`.

    Returns:
      `videos`, `frames` and `scored` frames of what was scored now, `skipped` (done before), and
      `left_out`: a line for each video that has a fault, or frames without a score because of one.

    Raises:
      VadError: no finished run, nothing to score, nothing that can be read, or an output folder
        that cannot be written, belongs to another process, or would write over other files.
    """
    import vad_jax
    from vad_jax.datasets.folder import sources
    from vad_jax.runs.workdir import locked

    if threshold is not None and not overlay:
        raise ConfigError("--threshold is a line in the overlay: give --overlay, too.")
    options = Options(overlay, threshold, fps)
    detector, output = vad_jax.load(workdir), Path(output).expanduser().resolve()
    found = sources(Path(source))
    _refuse_source(Path(source).expanduser().resolve(), output)
    with locked(output, "--output"):
        manifest = _Manifest(output, _scorer(detector))
        figures = {"videos": 0, "frames": 0, "scored": 0, "skipped": 0, "left_out": []}
        with tqdm(desc="scoring", unit="frame", disable=None) as bar:
            for number, video in enumerate(found, start=1):
                bar.set_postfix_str(f"video {number}/{len(found)} {video.name}")
                try:
                    content = _content(video)
                    entry = manifest.find(video, content, options)
                    if entry:
                        figures["skipped"] += 1
                    else:
                        manifest.make_room(video)
                        entry = _one(detector, video, content, output, options, bar)
                        manifest.add(video, entry)
                        figures["videos"] += 1
                        figures["frames"] += entry["frames"]
                        figures["scored"] += entry["scored"]
                    figures["left_out"] += entry["notes"]
                except DataError as error:
                    figures["left_out"].append(str(error))
    if not figures["videos"] and not figures["skipped"]:
        raise DataError("Nothing could be scored: " + " ".join(figures["left_out"]))
    return figures


def _refuse_source(source: Path, output: Path) -> None:
    """What is written must not lie among what is read: it would be scored the next time."""
    if source.is_dir() and output.is_relative_to(source):
        raise ConfigError(
            f"--output={output} lies in the source {source}: give a folder outside it."
        )


def _scorer(detector) -> str:
    """Hash of all that a score depends on but the video."""
    import vad_jax

    facts = {
        "vad_jax": vad_jax.__version__,
        "config": detector.config.to_json_best_effort(sort_keys=True),
        "checkpoint": detector.about,
        "statistics": detector.statistics,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _one(detector, video, content: str, output: Path, options: Options, bar) -> dict[str, Any]:
    """Scores one video and writes its files; returns its entry in the manifest."""
    from vad_jax.data.decoder import Decoded
    from vad_jax.pictures import overlay
    from vad_jax.scoring import score_video

    spec, targets = detector.method.inputs, _targets(video, options)
    frames = Decoded(video, colour=spec.colour, size=(spec.height, spec.width))
    reading = _Reading(frames, spec.channels, bar)
    regions = overlay.Regions(detector) if options.overlay else None
    windows = score_video(detector.method, detector.variables, reading, each=regions)
    values = detector.fused(windows, protocol="online")
    if _content(video) != content:
        raise DataError(f"Video {video.name} changed while it was scored: score it again.")
    fps = options.fps if video.images is not None else None
    seconds = [frame / fps for frame in range(len(values))] if fps else reading.seconds
    _write_csv(output / f"{video.name}.csv", seconds, values)
    if regions is not None:
        drawn = output / f"{video.name}.mp4"
        overlay.draw(drawn, video, values, regions, threshold=options.threshold, fps=fps)
    notes = reading.faults()
    scored = int(np.isfinite(values).sum())
    if not scored:
        needs = f"no score, a window needs {spec.span} whole frames"
        notes.append(f"Video {video.name} ({windows.length} frames): {needs}.")
    return {
        "source": _place(video),
        "content": content,
        "frames": windows.length,
        "scored": scored,
        "notes": notes,
        "files": {
            name: {"sha256": files.sha256(output / name), "options": used}
            for name, used in targets.items()
        },
    }


def _targets(video, options: Options) -> dict[str, dict[str, Any]]:
    """The files of a video, and the options that each depends on."""
    fps = options.fps if video.images is not None else None
    targets = {f"{video.name}.csv": {"fps": fps}}
    if options.overlay:
        targets[f"{video.name}.mp4"] = {"fps": fps, "threshold": options.threshold}
    return targets


class _Reading:
    """The frames of a video for scoring; keeps the times and the faults it meets."""

    def __init__(self, frames, channels, bar):
        self._frames, self._channels, self._bar = frames, channels, bar
        self.seconds: list[float | None] = []
        self._broken, self._first = 0, ""

    def __iter__(self) -> Iterator[np.ndarray | None]:
        for picture in self._frames:
            if isinstance(picture, DataError):
                self._broken += 1
                self._first = self._first or str(picture)
                self.seconds.append(None)
                yield None
            else:
                self.seconds.append(picture.seconds)
                yield np.broadcast_to(picture.pixels, (*picture.pixels.shape[:2], self._channels))
            self._bar.update()

    def faults(self) -> list[str]:
        """A line for broken frames, and one for a video that is shorter than it says."""
        lines = [self._frames.note] if self._frames.note else []
        if self._broken:
            lines.append(f"{self._broken} frames cannot be read, the first: {self._first}")
        return lines


def _write_csv(path: Path, seconds: Sequence[float | None], values: np.ndarray) -> None:
    with files.whole(path, newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["frame", "seconds", "score"])
        for frame, (when, value) in enumerate(zip(seconds, values, strict=True)):
            when = "" if when is None else f"{when:.3f}"
            rows.writerow([frame, when, "" if math.isnan(value) else f"{value:.6g}"])


_ENTRY = {"source", "content", "scorer", "frames", "scored", "notes", "files"}


class _Manifest:
    """`manifest.json` of an output folder: which videos are done, and what was written."""

    def __init__(self, folder: Path, scorer: str):
        self._folder, self._path, self._scorer = folder, folder / "manifest.json", scorer
        self._entries: dict[str, dict[str, Any]] = {}
        self._begun: set[str] = set()  # files of a video that was not finished
        if self._path.exists():
            try:
                kept = json.loads(self._path.read_text())
                found, begun = kept["videos"], kept["begun"]
                if not all(entry.keys() >= _ENTRY for entry in found.values()):
                    raise ValueError("an entry that is not whole")
                self._entries, self._begun = found, set(begun)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CheckpointError(
                    f"{self._path} is damaged ({error}), so it is not known which files are whose. "
                    "Give another --output, or remove the manifest and the files beside it."
                ) from None

    def find(self, video, content: str, options: Options) -> dict[str, Any] | None:
        """The entry of a video that is done: same bytes, same scorer, its files as written.

        Raises:
          DataError: another video of this name was scored into the folder.
        """
        entry = self._entries.get(video.name)
        if entry is None:
            return None
        if entry["source"] != _place(video) and entry["content"] != content:
            raise DataError(
                f"Video {video.name}: {self._folder} holds the scores of another video of this "
                f"name, {entry['source']}. Give another --output."
            )
        if entry["scorer"] != self._scorer or entry["content"] != content:
            return None
        for name, used in _targets(video, options).items():
            written, path = entry["files"].get(name), self._folder / name
            if not written or written["options"] != used or not path.is_file():
                return None
            if files.sha256(path) != written["sha256"]:
                return None
        return entry

    def make_room(self, video) -> None:
        """Removes what was written of an earlier content of a video: it must not look current.

        Raises:
          DataError: a file in the way that the manifest does not know.
        """
        mine = {f"{video.name}.csv", f"{video.name}.mp4"}
        known = {*self._entries.pop(video.name, {"files": {}})["files"], *self._begun}
        for name in sorted(mine):
            path = self._folder / name
            if not path.exists():
                continue
            if name not in known:
                raise DataError(
                    f"Video {video.name}: {path} is there and was not written by this command. "
                    "Give another --output."
                )
            path.unlink()
        self._begun |= mine
        self._write()

    def add(self, video, entry: dict[str, Any]) -> None:
        self._entries[video.name] = {"scorer": self._scorer, **entry}
        self._begun -= {f"{video.name}.csv", f"{video.name}.mp4"}
        self._write()

    def _write(self) -> None:
        with files.whole(self._path) as file:
            json.dump({"videos": self._entries, "begun": sorted(self._begun)}, file, indent=1)
            file.write("\n")


def _place(video) -> str:
    return str(video.file or video.images[0].parent)


def _content(video) -> str:
    from vad_jax.data.frames import digest

    try:
        return digest(video)
    except OSError as error:
        raise DataError(
            f"Video {video.name}: {error.filename} cannot be read ({error.strerror})."
        ) from None


def main() -> cli.Outcome:
    given = flags.FLAGS
    for name, what in (("workdir", "the run's folder"), ("source", "a video or a folder")):
        if not given[name].value:
            raise ConfigError(f"Give {what}: --{name}=PATH.")
    output = given.output or Path(given.workdir) / "scored"
    options = Options(given.overlay, given.threshold, given.fps)
    figures = score(given.workdir, given.source, output, **options._asdict())
    done = f"Videos scored: {figures['videos']}, done before: {figures['skipped']}"
    print(f"{done}; {figures['scored']} of {figures['frames']} frames have a score. {output}")
    for line in figures["left_out"]:
        log.warning("Left out: %s", line)
    return cli.Outcome(figures, exit_code=3 if figures["left_out"] else 0)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of a finished run.")
    flags.DEFINE_string("source", None, "A video file, a folder of videos, or a folder of frames.")
    flags.DEFINE_string("output", None, "Where the files go; default WORKDIR/scored.")
    flags.DEFINE_bool("overlay", False, "Draw each video with score curve and error regions.")
    flags.DEFINE_float("threshold", None, "With --overlay: a score that is drawn as a line.")
    flags.DEFINE_float("fps", None, "Frames a second of folders of frames.", lower_bound=1e-3)
    cli.run(main)

"""Scores of videos that have no labels: what `vad_jax.score` does.

Given again, the same command goes on: what the manifest holds with the same content, scorer and
options is not scored again. Scores are those of the protocol `online`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

import vad_jax
from vad_jax import atomic
from vad_jax.data.decoder import Decoded
from vad_jax.data.source import Source
from vad_jax.datasets.folder import sources
from vad_jax.detector import Detector
from vad_jax.pictures import overlay
from vad_jax.runs.loading import load
from vad_jax.runs.locking import locked
from vad_jax.runs.manifest import Manifest, content_of, place
from vad_jax.scoring import score_videos
from vad_jax.types import ConfigError, DataError, InputSpec


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
    if threshold is not None and not overlay:
        raise ConfigError("--threshold is a line in the overlay: give --overlay, too.")
    options = Options(overlay, threshold, fps)
    detector, output = load(workdir), Path(output).expanduser().resolve()
    found = sources(Path(source))
    _refuse_source(Path(source).expanduser().resolve(), output)
    with locked(output, "--output"):
        manifest = Manifest(output, _scorer(detector))
        figures = {"videos": 0, "frames": 0, "scored": 0, "skipped": 0, "left_out": []}
        with tqdm(desc="scoring", unit="frame", disable=None) as bar:
            for number, video in enumerate(found, start=1):
                bar.set_postfix_str(f"video {number}/{len(found)} {video.name}")
                try:
                    content = content_of(video)
                    entry = manifest.find(video, content, _targets(video, options))
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


def _scorer(detector: Detector) -> str:
    """Hash of all that a score depends on but the video."""
    facts = {
        "vad_jax": vad_jax.__version__,
        "config": detector.config.to_json_best_effort(sort_keys=True),
        "checkpoint": detector.about,
        "statistics": detector.statistics,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _one(
    detector: Detector, video: Source, content: str, output: Path, options: Options, bar
) -> dict[str, Any]:
    """Scores one video and writes its files; returns its entry in the manifest."""
    spec, targets = detector.method.inputs, _targets(video, options)
    reading = _Reading(video, spec, bar)
    regions = overlay.Regions(detector, reading) if options.overlay else None
    (rows,) = score_videos(detector.method, detector.variables, [reading], each=regions, anew=True)
    values = detector.fused(rows, protocol="online")
    if content_of(video) != content:
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
        notes.append(f"Video {video.name} ({rows.length} frames): {needs}.")
    return {
        "source": place(video),
        "content": content,
        "frames": rows.length,
        "scored": scored,
        "notes": notes,
        "files": {
            name: {"sha256": atomic.sha256(output / name), "options": used}
            for name, used in targets.items()
        },
    }


def _targets(video: Source, options: Options) -> dict[str, dict[str, Any]]:
    """The files of a video, and the options that each depends on."""
    fps = options.fps if video.images is not None else None
    targets = {f"{video.name}.csv": {"fps": fps}}
    if options.overlay:
        targets[f"{video.name}.mp4"] = {"fps": fps, "threshold": options.threshold}
    return targets


class _Reading:
    """The frames of a video for scoring; keeps the times and the faults it meets.

    Attributes:
      name: of the video.
      source_size: (height, width) of its frames, once the first one is read.
      seconds: of each frame that was read, None where the source has no time.
    """

    def __init__(self, video: Source, spec: InputSpec, bar):
        self.name, self.source_size = video.name, None
        self._frames = Decoded(video, colour=spec.colour, size=(spec.height, spec.width))
        self._channels, self._bar = spec.channels, bar
        self.seconds: list[float | None] = []
        self._broken, self._first = 0, ""

    def stream(self) -> Iterator[np.ndarray | None]:
        for picture in self._frames:
            if isinstance(picture, DataError):
                self._broken += 1
                self._first = self._first or str(picture)
                self.seconds.append(None)
                yield None
            else:
                self.source_size = picture.source_size
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
    with atomic.whole(path, newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["frame", "seconds", "score"])
        for frame, (when, value) in enumerate(zip(seconds, values, strict=True)):
            when = "" if when is None else f"{when:.3f}"
            rows.writerow([frame, when, "" if math.isnan(value) else f"{value:.6g}"])

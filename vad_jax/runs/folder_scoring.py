"""Scores of videos that have no labels: what `vad_jax.score` does.

Given again, the same command goes on: what the manifest holds with the same content, scorer and
options is not scored again. Scores are those of the protocol `online`, unsmoothed: those that a
threshold is calibrated for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import vad_jax
from vad_jax import atomic, messages
from vad_jax.data.decoder import Decoded, frame_rate
from vad_jax.data.source import Source
from vad_jax.datasets import splits
from vad_jax.datasets.folder import sources
from vad_jax.detector import Detector
from vad_jax.pictures import overlay as pictures
from vad_jax.pictures.regions import Regions
from vad_jax.pictures.score_strip import Curve
from vad_jax.runs.alarm_tables import alarms, write_events, write_scores
from vad_jax.runs.alarm_threshold import Given, Threshold, given_threshold, threshold_of_run
from vad_jax.runs.loading import load
from vad_jax.runs.locking import locked
from vad_jax.runs.manifest import EVENTS, FILM, TABLE, Manifest, content_of, place
from vad_jax.runs.workdir import Workdir
from vad_jax.scoring import score_videos
from vad_jax.spelling import counted, is_text
from vad_jax.types import ConfigError, DataError, InputSpec

log = logging.getLogger(__name__)

_FORM = 2  # of the files that are written; counts up where they change
_LONGEST = 255 - len(f"..{2**22}.part")  # bytes of a file's name, with room for one half written


class Options(NamedTuple):
    """What changes the files that are written.

    Attributes:
      overlay: whether an mp4 is drawn, too.
      threshold: above it is alarm.
      fps: frames a second of what does not say when its frames are seen; or None.
    """

    overlay: bool
    threshold: Threshold
    fps: float | None


def score(
    workdir: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    overlay: bool = False,
    threshold: Given = "calibrated",
    fps: float | None = None,
) -> dict[str, Any]:
    """Scores every video of `source` that the output folder does not hold yet.

    Each gets `NAME.csv` (frame, seconds, score, alarm), where there is a threshold
    `NAME.events.csv` (an alarm a row), and with `overlay` `NAME.mp4`.

    Args:
      workdir: of a finished run.
      source: a video file, a folder of frames, or a folder of such.
      output: where the files go, made if need be; not where the source lies.
      overlay: draw each video with score, alarms and error regions.
      threshold: alarm where a score is above: `calibrated`, from the run's normal footage; a
        number; or `none`.
      fps: frames a second of folders of frames, and of the run's normal footage where these are not
        known.

    Returns:
      `videos`, `frames` and `scored` frames of what was scored now, `skipped` (done before),
      `left_out`: a line for each video that has a fault, or frames without a score because of one,
      and for each file that is no video;
      `threshold` (or None), `threshold_says`, `alarms` in all, `outside`: videos of which every
      score is above every one of normal footage.

    Raises:
      VadError: no finished run, nothing to score, nothing that can be read, or an output folder
        that cannot be written, belongs to another process, or would write over other files.
    """
    given, output = given_threshold(threshold), Path(output).expanduser().resolve()
    detector = load(workdir)
    found, unknown = sources(Path(source), levels=splits.levels_of(detector.config.data))
    _refuse_source(Path(source).expanduser().resolve(), output)
    level = threshold_of_run(given, detector, Workdir(Path(workdir)), fps=fps)
    options, untimed = Options(overlay, level, fps), []
    figures = {"videos": 0, "frames": 0, "scored": 0, "skipped": 0, "left_out": []}
    figures["left_out"] += [f"{ascii(name)[1:-1]}: no video that is known" for name in unknown]
    figures |= {"threshold": level.value, "threshold_says": level.says, "alarms": 0, "outside": []}
    with locked(output, "--output"):
        manifest = Manifest(output, _scorer(detector))
        with messages.progress(desc="scoring", unit="frame") as bar:
            for number, video in enumerate(found, start=1):
                try:
                    _check_name(video)
                    bar.set_postfix_str(f"video {number}/{len(found)} {video.name}")
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
                    figures["alarms"] += entry["alarms"] or 0
                    figures["outside"] += [video.name] * entry["outside"]
                    untimed += [video.name] * (not entry["timed"])
                except DataError as error:
                    figures["left_out"].append(str(error))
    if not figures["videos"] and not figures["skipped"]:
        raise DataError("Nothing could be scored: " + " ".join(figures["left_out"]))
    _beware(level, figures["outside"], untimed)
    return figures


def _beware(level: Threshold, outside: Sequence[str], untimed: Sequence[str]) -> None:
    """What a person must know who reads the scores, each thing once."""
    if level.value is None and level.why:
        log.warning("No threshold, so no alarms: %s. Give --threshold=NUMBER.", level.why)
    if level.warning:
        log.warning("The threshold is %s.", level.warning)
    if outside:
        log.warning(
            "Every score of %s is above every score of the run's normal footage (%.3g at most): "
            "this is far from what the run was trained on, another scene or camera say, and what "
            "is strange in it does not show. Adapt the run to it first: vad_jax.adapt.",
            _named(outside), level.highest,
        )  # fmt: skip
    if untimed:
        log.warning(
            "%s: when the frames are seen is not known. Seconds are empty; an overlay, and the "
            "gaps that an alarm bridges, go by %g frames a second. Give --fps.",
            _named(untimed), pictures.RATE,
        )  # fmt: skip


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{counted(len(names), 'video')} ({shown}{more})"


def _check_name(video: Source) -> None:
    """Raises DataError for a name of which no file can be made."""
    if not is_text(video.name):
        raise DataError(
            f"{str(place(video))!a}: rename it, a name must be text (UTF-8) without control "
            "characters."
        )
    own = Path(video.name).name
    longest = _LONGEST - len(EVENTS)
    if len(os.fsencode(own)) > longest:
        raise DataError(
            f"Video {own[:20]}…: its name has {len(os.fsencode(own))} bytes, and files beside it "
            f"need longer ones: rename it, {longest} bytes at most."
        )


def _refuse_source(source: Path, output: Path) -> None:
    """What is written must not lie among what is read: it would be scored the next time."""
    if source.is_dir() and output.is_relative_to(source):
        raise ConfigError(
            f"--output={output} lies in the source {source}: give a folder outside it."
        )


def _scorer(detector: Detector) -> str:
    """Hash of all that a score depends on but the video."""
    facts = {
        "vad_jax": (vad_jax.__version__, _FORM),
        "config": detector.config.to_json_best_effort(sort_keys=True),
        "checkpoint": detector.about,
        "statistics": detector.statistics,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _one(
    detector: Detector, video: Source, content: str, output: Path, options: Options, bar
) -> dict[str, Any]:
    """Scores one video and writes its files; returns its entry in the manifest."""
    spec, targets, level = detector.method.inputs, _targets(video, options), options.threshold
    reading = _Reading(video, spec, bar)
    regions = Regions(detector, reading) if options.overlay else None
    (rows,) = score_videos(detector.method, detector.variables, [reading], each=regions, anew=True)
    values = detector.fused(rows, protocol="online", smoothed=False)
    if content_of(video) != content:
        raise DataError(f"Video {video.name} changed while it was scored: score it again.")
    times = _times(reading.seconds, options.fps)
    clock = np.arange(len(values)) / pictures.RATE if times is None else times
    found = np.empty((0, 2), np.int64)
    if level.value is not None:
        found = alarms(values, level.value, clock, hold_seconds=level.hold_seconds)
        write_events(output / f"{video.name}{EVENTS}", values, times, found)
    write_scores(output / f"{video.name}{TABLE}", values, times, level.value, found)
    outside = not _none(values) and bool(np.nanmin(values) > level.highest)
    if regions is not None:
        curve = Curve(
            values=values,
            times=np.arange(len(values)) if times is None else times,
            in_seconds=times is not None,
            threshold=level.value,
            threshold_says=level.says,
            alarms=found,
            step=spec.step,
            boxed=bool(np.isfinite(detector.map_99)),
        )
        caveat = "unlike the footage trained on" if outside else None
        pictures.draw(output / f"{video.name}{FILM}", video, curve, regions, caveat=caveat)
    notes = reading.faults()
    if _none(values):
        needs = f"no score, a window needs {spec.span} whole frames"
        notes.append(f"Video {video.name} ({counted(rows.length, 'frame')}): {needs}.")
    return {
        "source": place(video),
        "content": content,
        "frames": rows.length,
        "scored": int(np.isfinite(values).sum()),
        "alarms": len(found),
        "outside": outside,
        "timed": times is not None,
        "notes": notes,
        "files": {
            name: {"sha256": atomic.sha256(output / name), "options": used}
            for name, used in targets.items()
        },
    }


def _none(values: np.ndarray) -> bool:
    return not np.isfinite(values).any()


def _times(seconds: Sequence[float | None], fps: float | None) -> np.ndarray | None:
    """When each frame is seen, seconds `[F]`, rising; None where it is not known.

    A frame between others that has no time of its own, one that is broken say, is put between them.
    """
    told = [(frame, when) for frame, when in enumerate(seconds) if when is not None]
    if not told:
        return np.arange(len(seconds)) / fps if fps else None
    frames, known = np.array(told).T
    rate = 1 / max(float(np.median(np.diff(known))), 1e-6) if len(known) > 1 else pictures.RATE
    at = np.arange(len(seconds))
    times = np.interp(at, frames, known)
    times -= np.maximum(frames[0] - at, 0) / rate
    return times + np.maximum(at - frames[-1], 0) / rate


def _rate(video: Source, fps: float | None) -> float | None:
    """The given frames a second, where the video does not say when its frames are seen."""
    return fps if fps and not (video.file and frame_rate(video.file)) else None


def _targets(video: Source, options: Options) -> dict[str, dict[str, Any]]:
    """The files of a video, and the options that each depends on."""
    level, fps = options.threshold, _rate(video, options.fps)
    used = {"fps": fps, "threshold": level.value, "hold_seconds": level.hold_seconds}
    endings = [TABLE] + [EVENTS] * (level.value is not None) + [FILM] * options.overlay
    return {f"{video.name}{ending}": used for ending in endings}


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
            lines.append(f"{counted(self._broken, 'frame')} cannot be read, first: {self._first}")
        return lines

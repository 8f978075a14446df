"""A run adapted to a new scene, as a run of its own: what `vad_jax.adapt` does."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vad_jax.data import spans
from vad_jax.data.decoder import frame_rate
from vad_jax.data.frames import Frames
from vad_jax.data.supports import spread
from vad_jax.datasets import splits
from vad_jax.datasets.folder import sources
from vad_jax.detector import Detector
from vad_jax.learning import adaptation, loop
from vad_jax.learning.step_search import check_rate, check_steps, plan
from vad_jax.runs import normal
from vad_jax.runs import workdir as workdirs
from vad_jax.runs.loading import load
from vad_jax.runs.locking import locked
from vad_jax.runs.workdir import Workdir
from vad_jax.spelling import counted
from vad_jax.types import Batch, CheckpointError, ConfigError, DataError

log = logging.getLogger(__name__)

_MEASURED = 20  # windows that the statistics of a scene need at least

_PARTS = (  # of data sets: training and test videos
    ("training", "testing"),
    ("Train", "Test"),
    ("training_videos", "testing_videos"),
)


def adapt(
    workdir: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    shots: int = 10,
    steps: int | None = None,
    learning_rate: float | None = None,
    support: Literal["first", "spread"] = "first",
    accept_outliers: bool = False,
) -> dict[str, Any]:
    """Writes a workdir with the run's variables adapted to a scene.

    Args:
      workdir: of a finished run.
      source: a video file, a folder of frames, or a folder of such: normal footage of the scene.
      output: the new workdir.
      shots: windows that are adapted on, K.
      steps, learning_rate: of plain gradient steps instead of the run's own rule. By default those
        that were learned or that the config says, else found on the support's own held-out halves
        (`learning.step_search.plan`).
      support: the `first` windows of the source, or windows at equal steps over it.
      accept_outliers: adapt even if a window of the support disagrees with the others.

    Returns:
      `shots`; `steps` and `learning_rate` that were taken (None: the run's own rule) and `says`,
      where they come from; `held_out_before` and `held_out_after`, the loss of held-out windows
      where these were searched for; `loss_before` and `loss_after` on the support; `outlier` (the
      largest loss of a window after adaptation to the others, as a multiple of their median);
      `measured` windows of the rest of the source.

    Raises:
      VadError: no finished run, too little footage, a whole data set in its place, a support that
        disagrees with itself, an output that is a run already, or neither a step that helps nor
        footage for statistics: nothing would be adapted.
    """
    if shots < 1:
        raise ConfigError(f"--shots={shots}: at least 1 window.")
    check_steps(steps)
    check_rate(learning_rate)
    detector, new = load(workdir), Workdir(Path(output))
    if new.config.exists():
        raise CheckpointError(f"{output} holds a run already: give another --output.")
    videos = _footage(Path(source), detector)
    chosen = _chosen(source, videos, detector, shots, support)
    method, variables = detector.method, detector.variables
    batch = _joined(
        adaptation.support_batch(method.inputs, video, first)
        for video, first in zip(videos, chosen, strict=True)
    )
    log.info("Adapting to %d windows; compiling comes first, up to a minute or two …", shots)
    first = detector.config.adapt.steps if steps is None else steps
    outlier = adaptation.disagreement(
        method, variables, batch, steps=first, learning_rate=learning_rate
    )
    if outlier is not None and outlier.max() > adaptation.OUTLIER and not accept_outliers:
        at = int(outlier.argmax())
        raise DataError(
            f"{videos[batch['video'][at]].name}, frames from {batch['frame'][at]} on: adapted to "
            f"the other {shots - 1} windows, this one has {outlier.max():.1f} times the loss of "
            "their median. Something there may not be normal: look at it, give other footage, or "
            "--accept_outliers."
        )
    found = plan(
        method, variables, batch, detector.config, steps=steps, learning_rate=learning_rate
    )
    how = {"steps": found.steps, "learning_rate": found.learning_rate}
    rest = [
        video.without(spans.frame_indices(method.inputs, first).ravel().tolist())
        for video, first in zip(videos, chosen, strict=True)
    ]
    left = sum(len(spans.starts(method.inputs, len(v), v.broken)) for v in rest)
    if steps is None and not found.helps and left < _MEASURED:
        raise DataError(
            f"Nothing would be adapted to {source}: {found.says}, and {counted(left, 'window')} "
            f"beside the support are too few for statistics of the scene ({_MEASURED} are "
            "needed). Give more footage, or --steps and --learning_rate."
        )
    before = adaptation.loss_on(method, variables, batch)
    ((variables, _),) = adaptation.adapted(method, variables, [batch], **how)
    after = adaptation.loss_on(method, variables, batch)
    digest = hashlib.sha256(batch["frames"].tobytes()).hexdigest()
    about = {"from": str(workdir), "source": str(source), "shots": shots, **how, "support": digest}
    ready = replace(detector, variables=variables, config=_configured(detector, learning_rate))
    with locked(new.folder, "--output"):
        measured = _write(ready, Workdir(Path(workdir)), new, rest, about, _rate(source))
    return {
        "shots": shots,
        **how,
        "says": found.says,
        "held_out_before": found.before,
        "held_out_after": found.after,
        "loss_before": before,
        "loss_after": after,
        "outlier": None if outlier is None else float(outlier.max()),
        "measured": measured,
    }


def _rate(source: str | Path) -> float | None:
    """Frames a second of the films of a scene, where they agree."""
    rates = {video.file and frame_rate(video.file) for video in sources(Path(source)).videos}
    return rates.pop() if len(rates) == 1 else None


def _footage(source: Path, detector: Detector) -> list[Frames]:
    """The decoded videos of a scene; a data set with test videos is refused."""
    for training, testing in _PARTS:
        if all((source.expanduser() / part).is_dir() for part in (training, testing)):
            raise DataError(
                f"{source} is a whole data set, test videos and all: what is adapted to is normal "
                f"footage of one scene. Name it, a video under {source / training} say."
            )
    settings = detector.config.data
    found, _ = sources(source, levels=splits.levels_of(settings))
    return splits.decoded(found, settings, detector.method.inputs)


def _chosen(
    source: str | Path, videos: Sequence[Frames], detector: Detector, shots: int, support: str
) -> list[np.ndarray]:
    """First frames of the support's windows, an array a video."""
    spec = detector.method.inputs
    lengths, broken = [len(video) for video in videos], [video.broken for video in videos]
    chosen = spread(spec, lengths, broken, shots, support)
    if (number := sum(map(len, chosen))) < shots:
        raise DataError(
            f"{source} has {number} windows of {spec.span} whole frames, and --shots={shots} are "
            "asked for: give more footage or fewer shots."
        )
    return chosen


def _joined(batches) -> Batch:
    batches = list(batches)
    joined = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    sizes = [len(b["mask"]) for b in batches]
    return {**joined, "video": np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)}


def _configured(detector: Detector, learning_rate: float | None) -> Any:
    """The config of the new run: it goes on adapting at a rate that was given."""
    config = detector.config.copy_and_resolve_references()
    if learning_rate is not None:
        config.adapt.learning_rate = learning_rate
    return config


def _write(
    detector: Detector,
    old: Workdir,
    new: Workdir,
    rest: Sequence[Frames],
    about: dict[str, Any],
    fps: float | None,
) -> int:
    """The new workdir; returns how many windows of the scene its statistics rest on."""
    method = detector.method
    numbers = [len(spans.starts(method.inputs, len(v), v.broken)) for v in rest]
    seen, step = detector.about["data"], detector.about["step"]
    with workdirs.derived(new, detector.config, seen, adapted=about) as digest:
        loop.keep(method, detector.config, detector.variables, new, digest=digest, step=step)
        if sum(numbers) >= _MEASURED:
            usable = [video for video, number in zip(rest, numbers, strict=True) if number]
            normal.measure(method, detector.variables, usable, new, "held-out", fps=fps)
            return sum(numbers)
        log.warning(
            "Only %d windows of the source are not adapted on: the statistics of normal clips, "
            "which the protocol `online` needs, stay those of %s. Give %d windows more than "
            "--shots.",
            sum(numbers), old, _MEASURED,
        )  # fmt: skip
        for there, here in ((old.normal, new.normal), (old.normal_windows, new.normal_windows)):
            if there.exists():
                shutil.copyfile(there, here)
        return 0

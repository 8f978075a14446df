"""Adapts a finished run to a new scene from a few windows of normal footage.

    python -m vad_jax.adapt --workdir=runs/NAME --source=PATH --output=runs/NEW [--shots=10]
        [--steps=T] [--learning_rate=R] [--support=first|spread] [--accept_outliers]

Writes a workdir that `vad_jax.score` and `vad_jax.evaluate` take. A run with learned step sizes
(MPU) adapts by them; any other, or with --learning_rate, is fine-tuned by plain gradient steps.
Normal clips of the new scene are measured on what of the source is not adapted on, so give more
footage than the shots.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from absl import flags

from vad_jax import cli

log = logging.getLogger("vad_jax.adapt")  # __name__ is `__main__` in a command

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
      steps: gradient steps; by default `config.adapt.steps`.
      learning_rate: fine-tune at this rate instead of by learned step sizes.
      support: the `first` windows of the source, or windows at equal steps over it.
      accept_outliers: adapt even if a window of the support disagrees with the others.

    Returns:
      `shots`, `steps`, `loss_before` and `loss_after` on the support, `outlier` (the largest loss
      of a window after adaptation to the others, as a multiple of their median), `measured`
      windows of the rest of the source.

    Raises:
      VadError: no finished run, too little footage, a whole data set in its place, a support that
        disagrees with itself, or an output that is a run already.
    """
    import vad_jax
    from vad_jax.data.supports import spread
    from vad_jax.data.windows import frame_indices
    from vad_jax.datasets import splits
    from vad_jax.datasets.folder import sources
    from vad_jax.runs import adaptation as few
    from vad_jax.runs.workdir import locked
    from vad_jax.types import CheckpointError, ConfigError, DataError

    if shots < 1:
        raise ConfigError(f"--shots={shots}: at least 1 window.")
    workdir, output = Path(workdir), Path(output)
    detector = vad_jax.load(workdir)
    learned = detector.variables["state"]
    if (output / "config.json").exists():
        raise CheckpointError(f"{output} holds a run already: give another --output.")
    if learning_rate is not None:
        detector = few.with_rate(detector, learning_rate)
    steps = detector.config.adapt.steps if steps is None else steps
    method, spec = detector.method, detector.method.inputs
    for training, testing in _PARTS:
        if all((Path(source).expanduser() / part).is_dir() for part in (training, testing)):
            raise DataError(
                f"{source} is a whole data set, test videos and all: what is adapted to is normal "
                f"footage of one scene. Name it, a video under {Path(source) / training} say."
            )
    videos = splits.decoded(sources(Path(source)), detector.config.data, spec)
    lengths, broken = [len(video) for video in videos], [video.broken for video in videos]
    chosen = spread(spec, lengths, broken, shots, support)
    if (number := sum(map(len, chosen))) < shots:
        raise DataError(
            f"{source} has {number} windows of {spec.span} whole frames, and --shots={shots} are "
            "asked for: give more footage or fewer shots."
        )
    batch = _joined(few.support_batch(spec, v, f) for v, f in zip(videos, chosen, strict=True))
    log.info("Adapting to %d windows; compiling comes first, up to a minute or two …", shots)
    outlier = few.disagreement(method, detector.variables, batch, steps=steps)
    if outlier is not None and outlier.max() > few.OUTLIER and not accept_outliers:
        at = int(outlier.argmax())
        raise DataError(
            f"{videos[batch['video'][at]].name}, frames from {batch['frame'][at]} on: adapted to "
            f"the other {shots - 1} windows, this one has {outlier.max():.1f} times the loss of "
            "their median. Something there may not be normal: look at it, give other footage, or "
            "--accept_outliers."
        )
    ((variables, losses),) = few.adapted(method, detector.variables, [batch], steps=steps)
    ((_, after),) = few.adapted(method, variables, [batch], steps=1)
    before = float(losses[0]) if len(losses) else float(after[0])
    ready = replace(detector, variables={**variables, "state": {**learned, **variables["state"]}})
    rest = [
        video.without(frame_indices(spec, first).ravel().tolist())
        for video, first in zip(videos, chosen, strict=True)
    ]
    how = {"source": str(source), "shots": shots, "steps": steps, "learning_rate": learning_rate}
    how["support"] = hashlib.sha256(batch["frames"].tobytes()).hexdigest()
    with locked(output, "--output"):
        measured = _write(ready, workdir, output, rest, how)
    return {
        "shots": shots,
        "steps": steps,
        "loss_before": before,
        "loss_after": float(after[0]),
        "outlier": None if outlier is None else float(outlier.max()),
        "measured": measured,
    }


def _joined(batches) -> dict[str, np.ndarray]:
    batches = list(batches)
    joined = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    sizes = [len(b["mask"]) for b in batches]
    return {**joined, "video": np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)}


def _write(detector, workdir: Path, output: Path, rest, how: dict[str, Any]) -> int:
    """The new workdir; returns how many windows of the scene its statistics rest on."""
    from vad_jax.data import windows
    from vad_jax.learning import loop
    from vad_jax.runs import workdir as workdirs

    spec = detector.method.inputs
    usable = [video for video in rest if len(windows.starts(spec, len(video), video.broken))]
    number = sum(len(windows.starts(spec, len(v), v.broken)) for v in usable)
    about = {"from": str(workdir), **how}
    seen, step = detector.about["data"], detector.about["step"]
    with workdirs.derived(output, detector.config, seen, adapted=about) as digest:
        if (workdir / "statistics").is_dir():
            shutil.copytree(workdir / "statistics", output / "statistics", dirs_exist_ok=True)
        loop.keep(
            detector.method, detector.config, detector.variables, output, digest=digest, step=step
        )
        if number >= _MEASURED:
            loop.measure_normal(detector.method, detector.variables, usable, output, "held-out")
            return number
        log.warning(
            "Only %d windows of the source are not adapted on: the statistics of normal clips, "
            "which the protocol `online` needs, stay those of %s. Give %d windows more than "
            "--shots.",
            number, workdir, _MEASURED,
        )  # fmt: skip
        for name in ("normal.npz", "normal_windows.npz"):
            if (workdir / name).exists():
                shutil.copyfile(workdir / name, output / name)
        return 0


def main() -> cli.Outcome:
    from vad_jax.types import ConfigError

    given = flags.FLAGS
    for name, what in (
        ("workdir", "the run's folder"),
        ("source", "normal footage of the scene"),
        ("output", "a new workdir"),
    ):
        if not given[name].value:
            raise ConfigError(f"Give {what}: --{name}=PATH.")
    names = ("shots", "steps", "learning_rate", "support", "accept_outliers")
    found = adapt(
        given.workdir, given.source, given.output, **{name: given[name].value for name in names}
    )
    windows, steps = (
        f"{found[name]} {word}{'' if found[name] == 1 else 's'}"
        for name, word in (("shots", "window"), ("steps", "step"))
    )
    print(
        f"Adapted to {windows} in {steps}: their loss {found['loss_before']:.6g} before, "
        f"{found['loss_after']:.6g} after. {given.output}"
    )
    if found["loss_after"] > found["loss_before"]:
        log.warning(
            "The steps raised the loss: give a lower --learning_rate or fewer --steps, and another "
            "--output."
        )
    elif found["loss_after"] > 0.999 * found["loss_before"]:
        log.warning(
            "The steps changed next to nothing: give more of them or a higher rate, say --steps=20 "
            "--learning_rate=1e-2, and another --output."
        )
    return cli.Outcome(json.loads(json.dumps(found)))


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of a finished run.")
    flags.DEFINE_string("source", None, "Normal footage: a video, or a folder of videos or frames.")
    flags.DEFINE_string("output", None, "The new workdir.")
    flags.DEFINE_integer("shots", 10, "Windows that are adapted on.")
    flags.DEFINE_integer("steps", None, "Gradient steps; default adapt.steps.", lower_bound=0)
    flags.DEFINE_float("learning_rate", None, "Fine-tune at this rate, without step sizes.", 0.0)
    flags.DEFINE_enum("support", "first", ["first", "spread"], "Which windows of the source.")
    flags.DEFINE_bool("accept_outliers", False, "Adapt even if a window disagrees with the others.")
    cli.run(main)

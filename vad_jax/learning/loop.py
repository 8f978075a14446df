"""The one training loop: stages, epochs, steps; it knows no method by name.

Order of a start, for each stage: finished already → go on from the middle → begin, from the stage
before, from `init_from`, or from the key.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from vad_jax import atomic as files
from vad_jax import runtime
from vad_jax.data import rows
from vad_jax.data.backends import open_feed
from vad_jax.data.frames import Frames
from vad_jax.learning import mesh as meshes
from vad_jax.learning import optim, statistics
from vad_jax.learning.checkpoint import Checkpoints
from vad_jax.runs import workdir as workdirs
from vad_jax.types import (
    CheckpointError,
    DataError,
    Method,
    Stage,
    Stopped,
    TrainingError,
    Variables,
)

log = logging.getLogger(__name__)

STALE = (  # patterns of files, once a run is trained further
    "normal.npz",
    "normal_windows.npz",
    "scores.npz",
    "controls.npz",
    "metrics.json",
    "report.html",
    "comparison.html",
    "shots_*.json",
    "shots_*.npz",
)


def train(
    method: Method,
    config,
    training: Sequence[Frames],
    validation: Sequence[Frames],
    workdir: Path,
    *,
    digest: str,
    init: Variables | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Variables:
    """Trains every stage and measures the parts of normal clips at the end.

    Args:
      method, config: the method and the completed config that made it.
      training, validation: decoded normal videos; validation may be empty.
      workdir: where checkpoints, `metrics.jsonl`, `statistics/` and `normal.npz` go.
      digest: of config and data, kept with each checkpoint.
      init: variables to start from instead of `method.init`.
      stop: asked after each step; once it is true the run is saved as it is.

    Returns:
      The trained variables, finished layout.

    Raises:
      Stopped: `stop` was true, and the step is saved.
      TrainingError: a loss that is not finite; names the step and the last good checkpoint.
      DataError: no training video is as long as a window.
    """
    if init is None and (needed := method.stages[0].builds_on):
        log.warning(
            "Stage %s comes first and builds on %s: that stays as random as it begins. Give "
            "--config.init_from=WORKDIR of a run that trained it, or name a stage that does before "
            "it in --config.stage_names.",
            method.stages[0].name, needed,
        )  # fmt: skip
    variables = init or jax.jit(method.init)(jax.random.key(config.seed))
    measured = None
    for index, stage in enumerate(method.stages):
        run = _StageRun(config, stage, index, training, validation, workdir, digest, stop)
        trained = run.train(stage.begin(variables, measured))
        measured = run.measure(trained)
        variables = stage.finish(trained)
    _measure_normal(method, variables, training, validation, workdir)
    return variables


def adopt(
    method: Method,
    config,
    training: Sequence[Frames],
    validation: Sequence[Frames],
    workdir: Path,
    *,
    digest: str,
    given: Variables,
) -> None:
    """Makes a finished run of variables that were trained elsewhere; arguments as `train`'s.

    Args:
      given: finished layout.

    Raises:
      CheckpointError: the workdir holds other checkpoints already.
    """
    measured = None
    for index, stage in enumerate(method.stages):
        run = _StageRun(config, stage, index, training, validation, workdir, digest, lambda: False)
        begun = stage.begin(given, measured)
        run.adopt(begun)
        measured = run.measure(begun)
    _measure_normal(method, given, training, validation, workdir)


def keep(
    method: Method, config, variables: Variables, workdir: Path, *, digest: str, step: int
) -> None:
    """Saves finished variables as the last stage's checkpoint, with slots of a fresh start.

    Args:
      method, config: as `train`'s.
      variables: finished layout.
      workdir: of the run; what its earlier stages measured lies in `statistics/`.
      digest: of config and data.
      step: that the variables are said to be of.
    """
    stage = method.stages[-1]
    begun = stage.begin(variables, statistics.before_last(workdir, method))
    optimizer = stage.optimizer(steps_per_epoch=1, steps=1)
    slots = optim.only(optimizer, stage.trainable, begun["params"]).init(begun["params"])
    position = {"step": step, "epoch": 0, "digest": digest, "unlogged": []}
    Checkpoints(workdir / "checkpoints" / stage.name).save(begun, slots, position)


def _measure_normal(method, variables, training, validation, workdir) -> None:
    source = "held-out" if validation else "training"
    measure_normal(method, variables, validation or training, workdir, source)


def measure_normal(
    method: Method, variables: Variables, normal: Sequence[Frames], workdir: Path, source: str
) -> None:
    """Writes the parts of normal clips and their statistics; with them a run is finished.

    Args:
      method, variables: what scores.
      normal: videos.
      workdir: gets `normal_windows.npz` and `normal.npz`.
      source: `held-out` or `training`: where the videos come from.
    """
    with tqdm(total=sum(map(len, normal)), desc="normal clips", unit="frame", disable=None) as bar:
        found = statistics.normal_parts(method, variables, normal, source, progress=bar.update)
    statistics.write_windows(workdir / "normal_windows.npz", found["windows"], source)
    about = {"source": found["source"], "map_99": found["map_99"]}
    statistics.write(workdir / "normal.npz", found["parts"], **about)  # last: the run is finished


def train_step(stage: Stage, transform: optax.GradientTransformation) -> Callable[..., Any]:
    """One step as a pure function `(variables, slots, batch, key) → (variables, slots, metrics)`.

    Written as if there were one device: under jit with the batch axis split over a mesh the sums
    of loss, BatchNorm and memory run over all of it.
    """

    def step(variables, slots, batch, key):
        params, state = variables["params"], variables["state"]
        gradient = jax.value_and_grad(functools.partial(stage.loss, train=True), has_aux=True)
        (loss, (state, parts)), gradients = gradient(params, state, batch, key)
        updates, slots = transform.update(gradients, slots, params)
        params = optax.apply_updates(params, updates)
        return {"params": params, "state": state}, slots, {"loss": loss, "parts": parts}

    return step


def _finite(tree) -> jax.Array:
    """Whether every number of a tree is finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


class _StageRun:
    """One stage of one run: its feeds, length, optimiser and files."""

    def __init__(self, config, stage, index, training, validation, workdir, digest, stop):
        self.config, self.stage, self.workdir, self.digest = config, stage, workdir, digest
        self.stop = stop
        self.settings = config.stages[stage.name]
        self.lengths = [len(video) for video in training]
        self.broken = [video.broken for video in training]
        self.held_out = validation
        self.videos = training
        self.mesh = meshes.make(self.settings.batch_size)
        self.key = jax.random.fold_in(jax.random.key(config.seed), index)
        self._check_lengths(training)
        self.steps_per_epoch = len(self.epoch_batches(0)[0])
        epochs = self.settings.epochs
        self.steps = self.settings.steps if epochs is None else epochs * self.steps_per_epoch
        self.epochs = math.ceil(self.steps / self.steps_per_epoch)

    def _check_lengths(self, training):
        spec = self.stage.inputs
        short, bare = (
            [f"{v.name} ({len(v)} frames)" for v in videos if not rows.fits(spec, len(v), v.broken)]
            for videos in (training, self.held_out)
        )
        if len(short) == len(training):
            raise DataError(
                f"No training video has {rows.need(spec)}: {', '.join(short)}. Give longer videos, "
                "or a smaller input.stride."
            )
        if bare:
            raise DataError(
                f"data.validation: nothing can be measured by stage {self.stage.name} in "
                f"{', '.join(bare)}: it needs {rows.need(spec)}. Hold out longer videos."
            )
        if short:
            log.warning(
                "Stage %s: %d training videos are left out, each needs %s: %s",
                self.stage.name, len(short), rows.need(spec), ", ".join(short),
            )  # fmt: skip

    def epoch_batches(self, epoch):
        return rows.kind(self.stage.inputs).batches(
            self.stage.inputs,
            self.lengths,
            batch_size=self.settings.batch_size,
            seed=self.config.seed,
            epoch=epoch,
            broken=self.broken,
        )

    def _checkpoints(self):
        folder = self.workdir / "checkpoints" / self.stage.name
        return Checkpoints(folder, keep=self.config.checkpoint.keep)

    def _transform(self, variables):
        optimizer = self.stage.optimizer(steps_per_epoch=self.steps_per_epoch, steps=self.steps)
        return optim.only(optimizer, self.stage.trainable, variables["params"])

    def adopt(self, variables: Variables) -> None:
        """Saves variables in the stage's layout as if they had been trained here."""
        checkpoints = self._checkpoints()
        slots = jax.jit(self._transform(variables).init)(variables["params"])
        if found := checkpoints.latest(variables, slots):  # of a command that was interrupted
            same = jax.tree.map(np.array_equal, found[0], variables)
            if jax.tree.all(same):
                return
            raise CheckpointError(
                f"{checkpoints.folder} holds another checkpoint already: give another --workdir."
            )
        self._save(variables, slots, self.steps, self.epochs - 1, [], checkpoints)

    def train(self, variables: Variables) -> Variables:
        """From the stage's first layout to its trained one, going on where a run was stopped."""
        transform = self._transform(variables)
        slots = jax.jit(transform.init)(variables["params"])
        checkpoints = self._checkpoints()
        found = checkpoints.latest(variables, slots)
        done, unlogged = 0, []
        if found:
            variables, slots, position = found
            workdirs.check_origin(checkpoints.folder, position, self.digest)
            done, unlogged = position["step"], position["unlogged"]
        if done >= self.steps:
            log.info("Stage %s is complete: %d steps.", self.stage.name, done)
            return variables
        if done:
            log.info("Stage %s goes on after step %d.", self.stage.name, done)
        for stale in [file for pattern in STALE for file in self.workdir.glob(pattern)]:
            stale.unlink()  # of fewer steps than come now
        self.log = _Log(self.workdir / "metrics.jsonl", self.stage.name, done)
        return self._epochs(transform, variables, slots, done, unlogged, checkpoints)

    def _epochs(self, transform, variables, slots, done, unlogged, checkpoints):
        feed = open_feed(self.config.data.backend, self.videos, self.stage.inputs)
        store = meshes.copy(self.mesh, feed.store)
        variables, slots = meshes.copy(self.mesh, (variables, slots))
        pure = train_step(self.stage, transform)

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def step(variables, slots, store, item, number):
            key = jax.random.fold_in(self.key, number)
            variables, slots, metrics = pure(variables, slots, feed.gather(store, item), key)
            more = {
                "learning_rate": optim.learning_rate(slots),
                "sound": _finite(variables["params"]),
            }
            return variables, slots, metrics | more

        step = runtime.told(step, f"the training step of stage {self.stage.name}")
        validate = self._validation()
        log.info(
            "Stage %s: %d steps in %d epochs on %d device(s).",
            self.stage.name, self.steps, self.epochs, self.mesh.size,
        )  # fmt: skip
        bar = tqdm(total=self.steps, initial=done, desc=self.stage.name, unit="step", disable=None)
        for epoch in range(done // self.steps_per_epoch, self.epochs):
            begin = epoch * self.steps_per_epoch
            end = min(begin + self.steps_per_epoch, self.steps)
            coming = (part[done - begin : end - begin] for part in self.epoch_batches(epoch))
            waiting, before, since = [*unlogged], len(unlogged), time.perf_counter()
            for item in feed.items(*coming):
                item = meshes.split(self.mesh, item)
                variables, slots, metrics = step(variables, slots, store, item, np.uint32(done))
                waiting.append(metrics)
                done += 1
                bar.update()
                if done % self.config.log_steps == 0 or done == end:
                    line = self._summed(waiting, done, checkpoints)
                    seconds = time.perf_counter() - since
                    clips = (len(waiting) - before) * self.settings.batch_size
                    self.log.write(done, epoch, "train", line, clips=clips, seconds=seconds)
                    bar.set_postfix_str(f"loss {line['loss']:.5f}")
                    waiting, before, since = [], 0, time.perf_counter()
                if done < end and self.stop():
                    if waiting:
                        self._summed(waiting, done, checkpoints)  # only what is finite is saved
                    self._save(variables, slots, done, epoch, waiting, checkpoints)
                    self._stopped(done)
            unlogged = []
            message = f"epoch {epoch + 1}/{self.epochs}, loss {line['loss']:.5f}"
            if validate:
                held = validate(variables)
                if not np.isfinite(held["loss"]):
                    self._stop(f"a held-out loss {held['loss']}", done, checkpoints)
                self.log.write(done, epoch, "validation", held)
                message += f", held out {held['loss']:.5f}"
            log.info("%s: %s", self.stage.name, message)
            if epoch == 0 and (remark := self.stage.remark(line["parts"])):
                log.warning("%s: %s", self.stage.name, remark)
            stop = self.stop() and done < self.steps
            if stop or (epoch + 1) % self.config.checkpoint.epochs == 0 or done == self.steps:
                self._save(variables, slots, done, epoch, [], checkpoints)
            if stop:
                self._stopped(done)
        bar.close()
        return jax.device_get(variables)

    def _save(self, variables, slots, done, epoch, waiting, checkpoints):
        """Saves the step, and the metrics that the next line of the log will be the mean of."""
        unlogged = jax.tree.map(lambda value: np.asarray(value).item(), jax.device_get(waiting))
        position = {"step": done, "epoch": epoch, "digest": self.digest, "unlogged": unlogged}
        checkpoints.save(variables, slots, position)

    def _stopped(self, done):
        raise Stopped(
            f"Stage {self.stage.name} was stopped and saved after step {done} of {self.steps}. "
            "The same command goes on there."
        )

    def _summed(self, waiting, done, checkpoints):
        """Means over the steps since the last line, once all are known to be finite."""
        values = jax.device_get(waiting)
        losses = np.array([value["loss"] for value in values], np.float64)
        sound = np.array([value["sound"] for value in values])
        for i in np.flatnonzero(~(np.isfinite(losses) & sound))[:1]:
            what = "gradient" if np.isfinite(losses[i]) else f"loss {losses[i]}"
            self._stop(f"a {what} that is not finite", done - len(losses) + int(i) + 1, checkpoints)
        parts = {
            name: float(np.mean([value["parts"][name] for value in values], dtype=np.float64))
            for name in values[0]["parts"]
        }
        rate = values[-1]["learning_rate"]
        rate = None if rate is None else float(rate)
        return {"loss": float(losses.mean()), "parts": parts, "learning_rate": rate}

    def _stop(self, what, step, checkpoints):
        good = checkpoints.newest()
        where = f"the last good checkpoint is step {good}" if good else "no checkpoint yet"
        raise TrainingError(
            f"Stage {self.stage.name} has {what} at step {step}; {where} in {checkpoints.folder}. "
            f"Lower stages.{self.stage.name}.learning_rate, or look at the data of that step."
        )

    def _validation(self):
        """`variables → line` over the held-out windows, parts weighted by the mask; or None."""
        if not self.held_out:
            return None
        every, mask = self._in_order(self.held_out)
        feed = open_feed(self.config.data.backend, self.held_out, self.stage.inputs)
        store = meshes.copy(self.mesh, feed.store)

        @jax.jit
        def evaluate(variables, store, item):
            batch = feed.gather(store, item)
            params, state = variables["params"], variables["state"]
            loss, (_, parts) = self.stage.loss(params, state, batch, None, train=False)
            return {"loss": loss, **{f"parts/{name}": part for name, part in parts.items()}}

        def validate(variables):
            items = (meshes.split(self.mesh, item) for item in feed.items(every, mask))
            values = jax.device_get([evaluate(variables, store, item) for item in items])
            weight = mask.sum(axis=1)
            means = {
                name: float(np.average([np.float64(v[name]) for v in values], weights=weight))
                for name in values[0]
            }
            parts = {k.removeprefix("parts/"): v for k, v in means.items() if k != "loss"}
            return {"loss": means["loss"], "parts": parts, "learning_rate": None}

        return validate

    def _in_order(self, videos):
        return rows.kind(self.stage.inputs).in_order(
            self.stage.inputs,
            [len(video) for video in videos],
            batch_size=self.settings.batch_size,
            broken=[video.broken for video in videos],
        )

    def measure(self, variables: Variables):
        """The stage's measurements on normal windows, also written to `statistics/`; or None."""
        if self.stage.measure is None:
            return None
        videos = self.held_out or self.videos
        feed = open_feed(self.config.data.backend, videos, self.stage.inputs)
        params, state = variables["params"], variables["state"]
        store = jax.device_put(feed.store)
        found = statistics.measured(
            self.stage.measure, params, state, feed, store, *self._in_order(videos)
        )
        statistics.write(self.workdir / "statistics" / f"{self.stage.name}.npz", found)
        return found


class _Log:
    """`metrics.jsonl`, cut back to the step that a run goes on from."""

    def __init__(self, path: Path, stage: str, done: int):
        self._path, self._stage = path, stage
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if self._stays(line, done)]
        with files.whole(path) as file:
            file.writelines(line + "\n" for line in kept)

    def _stays(self, line: str, done: int) -> bool:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # the line that a killed process was writing
            return False
        return entry["stage"] != self._stage or entry["step"] <= done

    def write(self, step, epoch, split, line, *, clips=None, seconds=None) -> None:
        entry = {"stage": self._stage, "step": step, "epoch": epoch, "split": split, **line}
        if seconds is not None:
            entry |= {"clips_per_second": clips / seconds, "seconds": seconds}
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

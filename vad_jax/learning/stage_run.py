"""One stage of one run: its rows, steps and epochs, and how it goes on where it was stopped."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from vad_jax import messages, runtime
from vad_jax.data import rows
from vad_jax.data.backends import open_feed
from vad_jax.data.footage import Footage
from vad_jax.learning import mesh as meshes
from vad_jax.learning import optim, recorder, statistics
from vad_jax.learning.checkpoint import Checkpoints, check_origin
from vad_jax.spelling import counted
from vad_jax.types import (
    CheckpointError,
    ConfigError,
    DataError,
    InputSpec,
    Stage,
    Stopped,
    TrainingError,
    Variables,
)

log = logging.getLogger(__name__)


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


class StageRun:
    """One stage of one run: its feeds, length, optimiser and files.

    Args:
      config: completed.
      stage, index: which, and its place among the run's stages.
      training, validation: normal footage; validation may be empty.
      files: of the run (`runs/workdir.py`).
      digest: of config and data.
      stop: asked after each step; once it is true the run is saved as it is.

    Raises:
      DataError: no training video has a row.
    """

    def __init__(
        self,
        config: Any,
        stage: Stage,
        index: int,
        training: Footage,
        validation: Footage,
        files: Any,
        *,
        digest: str,
        stop: Callable[[], bool] = lambda: False,
    ):
        self.config, self.stage, self.files, self.digest = config, stage, files, digest
        self.stop = stop
        self.settings = config.stages[stage.name]
        self.footage, self.held_out = training, validation
        self.kind = rows.kind(stage.inputs)
        self.mesh = meshes.make(self.settings.batch_size)
        self.key = jax.random.fold_in(jax.random.key(config.seed), index)
        check_rows(stage.inputs, training, validation, f"stage {stage.name}")
        self.checkpoints = Checkpoints(files.checkpoints(stage.name), keep=config.checkpoint.keep)
        self.steps_per_epoch = len(self.epoch_batches(0)[0])
        epochs = self.settings.epochs
        self.steps = self.settings.steps if epochs is None else epochs * self.steps_per_epoch
        self.epochs = math.ceil(self.steps / self.steps_per_epoch)
        self.length = {"steps_per_epoch": self.steps_per_epoch, "steps": self.steps}

    def epoch_batches(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of an epoch `[N, B, R]` and their mask `[N, B]`."""
        return self.kind.batches(
            self.stage.inputs,
            self.footage,
            batch_size=self.settings.batch_size,
            seed=self.config.seed,
            epoch=epoch,
        )

    def _transform(self, params, length):
        """The optimiser for a length, which is data (traced) or, where it is empty, the run's."""
        optimizer = self.stage.optimizer(**self.length | length)
        return optim.only(optimizer, self.stage.trainable, params)

    def _slots(self, params, length):
        return jax.jit(lambda p, length: self._transform(p, length).init(p))(params, length)

    def _as_data(self, params) -> dict[str, np.int32]:
        """The length as data, so that another number of epochs needs no other program.

        Empty where the optimiser decides something in Python by it, and is made for one length.
        """

        def takes(params, length):
            transform = self._transform(params, length)
            return transform.update(params, transform.init(params), params)

        length = {name: np.int32(number) for name, number in self.length.items()}
        try:
            jax.eval_shape(takes, params, length)
        except jax.errors.JAXTypeError:
            return {}
        return length

    def adopt(self, variables: Variables) -> Variables:
        """Saves variables in the stage's layout as if they had been trained here."""
        variables = self._measured(variables)
        slots = self._slots(variables["params"], self._as_data(variables["params"]))
        if found := self.checkpoints.latest(variables, slots):  # of a command that was interrupted
            if jax.tree.all(jax.tree.map(np.array_equal, found[0], variables)):
                return variables
            raise CheckpointError(
                f"{self.checkpoints.folder} holds another checkpoint already: give another "
                "--workdir."
            )
        self._save(variables, slots, self.steps, self.epochs - 1, [])
        return variables

    def train(self, variables: Variables) -> Variables:
        """From the stage's first layout to its trained one, going on where a run was stopped."""
        if self.stage.measure and "measured" not in variables["state"]:
            raise ConfigError(
                f"Stage {self.stage.name} measures, but there is no place for what it finds: "
                '`init` has `state["measured"]`, name → `mean` and `std`, and `begin` keeps it.'
            )
        length = self._as_data(variables["params"])
        slots = self._slots(variables["params"], length)
        found = self.checkpoints.latest(variables, slots)
        done, unlogged = 0, []
        if found:
            variables, slots, position = found
            check_origin(self.checkpoints.folder, position, self.digest)
            done, unlogged = position["step"], position["unlogged"]
        if done >= self.steps:
            log.info("Stage %s is complete: %s.", self.stage.name, counted(done, "step"))
            return variables
        if done:
            log.info("Stage %s goes on after step %d.", self.stage.name, done)
        self.files.forget_results()  # of fewer steps than come now
        self.log = recorder.Recorder(self.files.log, self.stage.name, done)
        return self._epochs(length, variables, slots, done, unlogged)

    def _step(self, feed):
        """The step; all that runs of one method and size differ in is handed in, not compiled."""

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def step(variables, slots, store, item, key, length, number):
            key = jax.random.fold_in(key, number)
            pure = train_step(self.stage, self._transform(variables["params"], length))
            variables, slots, metrics = pure(variables, slots, feed.gather(store, item), key)
            more = {
                "learning_rate": optim.learning_rate(slots),
                "sound": recorder.finite(variables["params"]),
            }
            return variables, slots, metrics | more

        return runtime.told(step, f"the training step of stage {self.stage.name}")

    def _epochs(self, length, variables, slots, done, unlogged):
        feed = open_feed(self.config.data.backend, self.footage, self.stage.inputs)
        store = meshes.copy(self.mesh, feed.store)
        # By way of the host: steps take over what they are given, and `begin` may have put one
        # array in two places, or hand on the caller's own.
        variables, slots = meshes.copy(self.mesh, jax.device_get((variables, slots)))
        step, validate = self._step(feed), self._validation()
        same = self.key, length  # for every step
        log.info(
            "Stage %s: %s in %s on %s.",
            self.stage.name, counted(self.steps, "step"), counted(self.epochs, "epoch"),
            counted(self.mesh.size, "device"),
        )  # fmt: skip
        how = {"total": self.steps, "initial": done, "desc": self.stage.name, "unit": "step"}
        with messages.progress(**how) as bar:
            for epoch in range(done // self.steps_per_epoch, self.epochs):
                begin = epoch * self.steps_per_epoch
                end = min(begin + self.steps_per_epoch, self.steps)
                coming = (part[done - begin : end - begin] for part in self.epoch_batches(epoch))
                waiting, before, since = [*unlogged], len(unlogged), time.perf_counter()
                for item in feed.items(*coming):
                    item = meshes.split(self.mesh, item)
                    number = np.uint32(done)
                    variables, slots, metrics = step(variables, slots, store, item, *same, number)
                    waiting.append(metrics)
                    done += 1
                    bar.update()
                    if done % self.config.log_steps == 0 or done == end:
                        line = self._means(waiting, done)
                        seconds = time.perf_counter() - since
                        clips = (len(waiting) - before) * self.settings.batch_size
                        self.log.write(done, epoch, "train", line, clips=clips, seconds=seconds)
                        bar.set_postfix_str(f"loss {line['loss']:.5f}")
                        waiting, before, since = [], 0, time.perf_counter()
                    if done < end and self.stop():
                        if waiting:
                            self._means(waiting, done)  # only what is finite is saved
                        self._save(variables, slots, done, epoch, waiting)
                        self._stopped(done)
                unlogged = []
                self._say(epoch, line, done, validate, variables)
                stop = self.stop() and done < self.steps
                if done == self.steps:
                    variables = self._measured(variables)
                if stop or (epoch + 1) % self.config.checkpoint.epochs == 0 or done == self.steps:
                    self._save(variables, slots, done, epoch, [])
                if stop:
                    self._stopped(done)
        return jax.device_get(variables)

    def _say(self, epoch, line, done, validate, variables):
        """Logs an epoch: its loss, the held-out one, and what the stage has to remark."""
        message = f"epoch {epoch + 1}/{self.epochs}, loss {line['loss']:.5f}"
        if validate:
            held = validate(variables)
            if not np.isfinite(held["loss"]):
                self._fault(f"a held-out loss {held['loss']}", done)
            self.log.write(done, epoch, "validation", held)
            message += f", held out {held['loss']:.5f}"
        log.info("%s: %s", self.stage.name, message)
        if epoch == 0 and (remark := self.stage.remark(line["parts"])):
            log.warning("%s: %s", self.stage.name, remark)

    def _save(self, variables, slots, done, epoch, waiting):
        """Saves the step, and the metrics that the next line of the log will be the mean of."""
        unlogged = recorder.plain(waiting)
        position = {"step": done, "epoch": epoch, "digest": self.digest, "unlogged": unlogged}
        self.checkpoints.save(variables, slots, position)

    def _stopped(self, done):
        raise Stopped(
            f"Stage {self.stage.name} was stopped and saved after step {done} of {self.steps}. "
            "The same command goes on there."
        )

    def _means(self, waiting, done):
        """Means over the steps since the last line, once all are known to be finite."""

        def fault(what, place):
            self._fault(what, done - len(waiting) + place + 1)

        return recorder.means(waiting, fault=fault)

    def _fault(self, what, step):
        good = self.checkpoints.newest()
        where = f"the last good checkpoint is step {good}" if good else "no checkpoint yet"
        raise TrainingError(
            f"Stage {self.stage.name} has {what} at step {step}; {where} in "
            f"{self.checkpoints.folder}. Lower stages.{self.stage.name}.learning_rate, or look at "
            "the data of that step."
        )

    def _validation(self):
        """`variables → line` over the held-out rows, parts weighted by the mask; or None."""
        if not self.held_out.videos:
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

    def _in_order(self, footage):
        return self.kind.in_order(self.stage.inputs, footage, batch_size=self.settings.batch_size)

    def _measured(self, variables: Variables) -> Variables:
        """The variables with what the stage measures on normal rows as constants."""
        if self.stage.measure is None:
            return variables
        footage = self.held_out if self.held_out.videos else self.footage
        feed = open_feed(self.config.data.backend, footage, self.stage.inputs)
        given, state = jax.device_get(variables["params"]), jax.device_get(variables["state"])
        found = statistics.measured(
            self.stage.measure, given, state, feed, jax.device_put(feed.store),
            *self._in_order(footage),
        )  # fmt: skip
        return {**variables, "state": {**state, "measured": constants(state["measured"], found)}}


def check_rows(spec: InputSpec, training: Footage, validation: Footage, who: str) -> None:
    """Says which videos have no row.

    Args:
      spec: of the rows.
      training, validation: footage; validation may be empty.
      who: wants the rows, in words.

    Raises:
      DataError: no training video has one, or a held-out one has none.
    """
    kind = rows.kind(spec)
    need = kind.need(spec)
    short, bare = (
        [
            f"{video.name} ({counted(len(video), 'frame')})"
            for i, video in enumerate(footage.videos)
            if not kind.fits(spec, footage, i)
        ]
        for footage in (training, validation)
    )
    if len(short) == len(training.videos):
        raise DataError(
            f"No training video has {need}: {', '.join(short)}. Give longer videos, "
            "or a smaller input.stride."
        )
    if bare:
        raise DataError(
            f"data.validation: nothing can be measured by {who} in "
            f"{', '.join(bare)}: it needs {need}. Hold out longer videos."
        )
    if short:
        log.warning(
            "%s: left out, as each needs %s: %s, %s",
            who.capitalize(), need, counted(len(short), "training video"), ", ".join(short),
        )  # fmt: skip


def constants(places: Any, found: dict[str, dict[str, float]]) -> Any:
    """What a stage has measured, put where `init` left a place for it.

    Args:
      places: `state["measured"]`: name → `mean` and `std`, arrays.
      found: name → `summary`.

    Raises:
      ConfigError: a name for which there is no place.
      TrainingError: a mean or deviation that is not finite.
    """
    if unknown := sorted(found.keys() - places.keys()):
        raise ConfigError(
            f"A stage measured {', '.join(unknown)}, but `init` has places for "
            f"{', '.join(sorted(places))} alone: give it one for each name."
        )
    for name, row in found.items():
        if not np.isfinite([row["mean"], row["std"]]).all():
            raise TrainingError(
                f"Measured {name} on normal footage: mean {row['mean']}, deviation {row['std']} "
                f"over {row['count']} rows. Hold out longer videos, or lower the learning rate."
            )
    new = {
        name: {k: np.asarray(row[k], np.asarray(places[name][k]).dtype) for k in ("mean", "std")}
        for name, row in found.items()
    }
    return {**places, **new}

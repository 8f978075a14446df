"""What is measured: a config and its variations, random batches, the convolutions of a network."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

import vad_jax
from vad_jax import config as configs
from vad_jax.config_files import override
from vad_jax.data import rows as kinds
from vad_jax.data.footage import Footage
from vad_jax.data.frames import Frames
from vad_jax.interop import torch as interop
from vad_jax.types import Batch, ConfigError, InputSpec, Variables


def varied(config, text: str | None) -> list[tuple[dict[str, str], Any]]:
    """The config completed, or one for each value of some keys.

    Args:
      config: as a config file makes it.
      text: `KEY=V1,V2`, or `KEY+KEY=V1,V2` for keys that move together; or None.

    Returns:
      Pairs of what was changed and the completed config.

    Raises:
      ConfigError: no such key, a wrong value, or no `=`.
    """
    if text is None:
        return [({}, configs.complete(config))]
    keys, equals, values = text.partition("=")
    if not equals:
        raise ConfigError(f"--vary={text}: write KEY=V1,V2 or KEY+KEY=V1,V2.")
    found = []
    for value in values.split(","):
        changes = dict.fromkeys(keys.split("+"), value)
        changed = config.copy_and_resolve_references()
        override(changed, changes)
        found.append((changes, configs.complete(changed)))
    return found


def batch(spec: InputSpec, rows: int) -> Batch:
    """Rows of random uint8 frames on the host, windows or episodes; all of them count."""
    rng, kind = np.random.default_rng(0), kinds.kind(spec)
    length = 40 * spec.span * spec.stride
    shape = (length, spec.height, spec.width, spec.channels)
    video = Frames("noise", rng.integers(0, 256, shape, np.uint8), (), shape[1:3], shape[3], "")
    footage = Footage([video] * rows)
    drawn = kind.in_order(spec, footage, batch_size=rows)[0][0]
    taken = {"frames": video.read(kind.indices(spec, footage, drawn)["frames"])}
    return jax.tree.map(np.asarray, kind.batch(spec, taken, drawn, np.ones(rows, bool)))


def frames(batch: Batch) -> np.ndarray:
    """Those of a batch, `[B, T, H, W, C]`; of episodes `[E, K + Q, T, H, W, C]`, support first."""
    if "frames" in batch:
        return batch["frames"]
    return np.concatenate([batch["support"], batch["query"]], axis=1)


class Convolution(NamedTuple):
    """One convolution as a network calls it.

    Attributes:
      kind: `conv`, or `upsample` for the transposed one.
      x, kernel, y: shapes of input, kernel and output, channels last.
    """

    kind: str
    x: tuple[int, ...]
    kernel: tuple[int, ...]
    y: tuple[int, ...]

    @property
    def operations(self) -> int:
        """Multiplications and additions of the forward pass; so many for each gradient, too.

        Counted from the shapes, whichever way a lowering takes.
        """
        positions = self.x if self.kind == "upsample" else self.y
        return 2 * math.prod(positions[:-1]) * math.prod(self.kernel)


def convolutions(function: Callable[..., Any], *arguments: Any) -> list[Convolution]:
    """Every convolution (and dense layer) that one call of a function makes, in order.

    Nothing is computed. Inside `vmap` a layer is counted once, with the shapes that it sees.
    """
    found = []

    def note(call, args, kwargs, context):
        result = call(*args, **kwargs)
        module = context.module
        layer = context.method_name == "__call__" and module.has_variable("params", "kernel")
        if layer and hasattr(args[0], "shape"):  # some modules only hold a kernel
            kernel = module.get_variable("params", "kernel")
            kind = "upsample" if "Upsample" in type(module).__name__ else "conv"
            y = jax.tree.leaves(result)[0]  # some layers hand their bias on, apart
            found.append(Convolution(kind, args[0].shape, kernel.shape, y.shape))
        return result

    # Without jit a scan is a loop in Python: each of its rounds counts, and none twice. The lambda
    # is a new function each time: of one that it knows JAX would only look up the result.
    with nn.intercept_methods(note), jax.disable_jit():
        jax.eval_shape(lambda *given: function(*given), *arguments)
    return found


def training_layers(config) -> list[Convolution]:
    """The convolutions of one forward pass of a completed config's first stage, at its batch."""
    method = vad_jax.create(config)
    stage, key = method.stages[0], jax.random.key(0)
    shapes = jax.eval_shape(lambda key: stage.begin(method.init(key)), key)
    rows = batch(stage.inputs, config.stages[stage.name].batch_size)
    loss = functools.partial(stage.loss, train=True)
    return convolutions(loss, shapes["params"], shapes["state"], rows, key)


def scoring_layers(config, windows: int) -> list[Convolution]:
    """The convolutions that a completed config's method scores so many windows with."""
    method = vad_jax.create(config)
    variables = jax.eval_shape(method.init, jax.random.key(0))
    carry = jax.eval_shape(method.start, variables)
    return convolutions(method.score, variables, carry, batch(method.inputs, windows))


def twin(config, work: str, variables: Variables, rows: Batch) -> tuple[Any, ...]:
    """What `peers.arm` is told of the work of a completed config.

    Args:
      config: completed.
      work: `train_step`, `score`, or what else the twin does.
      variables: what both start with, finished layout.
      rows: a batch, as of `batch`.
    """
    memory = variables["state"].get("memory")
    return (
        configs.to_json(config),
        work,
        interop.tensors(config, variables["params"]),
        None if memory is None else np.asarray(memory),
        frames(rows),
    )

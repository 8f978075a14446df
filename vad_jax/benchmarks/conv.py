"""What each convolution of a network costs: forward, input gradient, filter gradient.

    python -m vad_jax.benchmarks.conv [--config=configs/mnad.py:ped2] [--config.KEY=VALUE ...]
        [--noplain] [--rounds=5] [--torch] [--keep_heap] [--json]

Every distinct shape at the batch size of training, and the 3x3x3 convolution of 64 channels on
16x64x64: ours, JAX's own `conv_general_dilated`, and PyTorch's. JAX's own takes seconds for some
filter gradients on a CPU: with it MNAD at 256x256 takes half an hour on two cores.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vad_jax import cli
from vad_jax import config as configs
from vad_jax.benchmarks import cases, peers, timing
from vad_jax.benchmarks.cases import Convolution
from vad_jax.benchmarks.timing import OURS, Arm, Built
from vad_jax.nets import conv as nets

PASSES = ("forward", "input_gradient", "filter_gradient")
PLAIN = "jax plain"
LAYOUTS = ("channels_first", "channels_last")  # of PyTorch
SPACE_TIME = Convolution(
    "conv", x=(1, 16, 64, 64, 64), kernel=(3, 3, 3, 64, 64), y=(1, 16, 64, 64, 64)
)
COLUMNS = {
    "layer": "",
    "calls": "d",
    "pass": "",
    "arm": "",
    "milliseconds": ".2f",
    "gflop_per_second": ".0f",
    "share_of_peak": ".2f",
    "ratio_to_plain": ".2f",
    "cores_of_others": ".2f",
    "ratio_to_best_torch": ".2f",
}


def layers(config) -> Counter[Convolution]:
    """The distinct convolutions of a completed config's first stage → how often each is called."""
    found = cases.training_layers(config)
    return Counter(layer for layer in found if len(layer.kernel) == len(layer.x))


def named(layer: Convolution) -> str:
    """`conv 64→64, 3x3 on 4x256x256`."""
    kernel, image = ("x".join(map(str, axes)) for axes in (layer.kernel[:-2], layer.x[:-1]))
    return f"{layer.kind} {layer.kernel[-2]}→{layer.kernel[-1]}, {kernel} on {image}"


def strides(layer: Convolution) -> tuple[int, ...]:
    """Steps of a `conv` along each axis of its image."""
    return tuple(-(-x // y) for x, y in zip(layer.x[1:-1], layer.y[1:-1], strict=True))


def ours(layer: Convolution) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The house's convolution, as the network calls it."""
    if layer.kind == "upsample":
        return functools.partial(nets.conv_transpose, strides=2)
    return functools.partial(nets.conv, strides=strides(layer))


def plain(layer: Convolution) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The same by `conv_general_dilated`; its derivatives are JAX's, too."""
    axes = "DHW"[-len(layer.kernel[:-2]) :]
    names = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    edges = [(k // 2, k // 2) for k in layer.kernel[:-2]]
    if layer.kind == "conv":
        how = {"window_strides": strides(layer), "padding": edges}
        return lambda x, kernel: jax.lax.conv_general_dilated(
            x, kernel, dimension_numbers=names, **how
        )
    how = {"window_strides": (1, 1), "padding": [(1, 2), (1, 2)], "lhs_dilation": (2, 2)}
    return lambda x, kernel: jax.lax.conv_general_dilated(
        x, kernel[::-1, ::-1], dimension_numbers=names, **how
    )


def arrays(layer: Convolution, *, precision: str = "float32") -> tuple[jax.Array, ...]:
    """Input, kernel, and a cotangent of the output."""
    rng = np.random.default_rng(0)
    shapes = (layer.x, layer.kernel, layer.y)
    return tuple(jnp.asarray(rng.standard_normal(s, np.float32), precision) for s in shapes)


def jax_arm(
    convolve: Callable[[jax.Array, jax.Array], jax.Array],
    which: str,
    x: jax.Array,
    kernel: jax.Array,
    cotangent: jax.Array,
) -> Arm:
    """One pass of a convolution, jitted."""

    def gradient(at):
        def run(x, kernel, cotangent):
            return jax.vjp(convolve, x, kernel)[1](cotangent)[at]

        return run

    passes = {
        "forward": lambda x, kernel, cotangent: convolve(x, kernel),
        "input_gradient": gradient(0),
        "filter_gradient": gradient(1),
    }
    run = jax.jit(passes[which])
    return lambda: run(x, kernel, cotangent).block_until_ready()


def torch_arm(
    layer: Convolution,
    which: str,
    layout: str,
    x: jax.Array,
    kernel: jax.Array,
    cotangent: jax.Array,
) -> Arm:
    """The same pass in PyTorch, without a graph."""
    import torch

    device, space = peers.device(), len(layer.kernel) - 2
    dtype = getattr(torch, str(x.dtype))
    memory = torch.contiguous_format
    if layout == "channels_last":
        memory = torch.channels_last if space == 2 else torch.channels_last_3d

    def tensor(array, axes):
        array = np.asarray(array.astype(jnp.float32)).transpose(axes)
        return torch.tensor(array).to(device, dtype).contiguous(memory_format=memory)

    images, taps = (0, space + 1, *range(1, space + 1)), tuple(range(space))
    turned = layer.kind == "upsample"
    x, cotangent = tensor(x, images), tensor(cotangent, images)
    kernel = tensor(kernel, (space, space + 1, *taps) if turned else (space + 1, space, *taps))
    steps = (2,) * space if turned else strides(layer)
    padding = [k // 2 for k in layer.kernel[:-2]]
    how = (steps, padding, (1,) * space, turned, (int(turned),) * space, 1)

    def run():
        if which == "forward":
            result = torch.ops.aten.convolution(x, kernel, None, *how)
        else:
            wanted = [which == "input_gradient", which == "filter_gradient", False]
            result = torch.ops.aten.convolution_backward(cotangent, x, kernel, None, *how, wanted)[
                wanted.index(True)
            ]
        peers.wait(device)
        return result

    return torch.inference_mode()(run)


def measure(
    layer: Convolution,
    which: str,
    *,
    arms: Sequence[str],
    rounds: int,
    peak: float,
    precision: str = "float32",
) -> list[dict[str, Any]]:
    """One row for each arm of one pass of a convolution.

    Args:
      layer: what is convolved.
      which: of `PASSES`.
      arms: `OURS`, `PLAIN`, `torch ` and one of `LAYOUTS`.
      rounds: of timed calls.
      peak: floating-point operations a second that `share_of_peak` is a share of.
      precision: of the arrays.
    """
    given = arrays(layer, precision=precision)
    made = {OURS: lambda: jax_arm(ours(layer), which, *given)}
    made[PLAIN] = lambda: jax_arm(plain(layer), which, *given)
    for layout in LAYOUTS:
        made[f"torch {layout}"] = lambda layout=layout: torch_arm(layer, which, layout, *given)
    built = {arm: Built(made[arm](), None) for arm in arms}
    rows = timing.measured(built, rounds=rounds, operations=layer.operations, peak=peak)
    seconds = {row["arm"]: row["seconds"] for row in rows}
    for row in rows:
        row["milliseconds"] = 1000 * row["seconds"]
        if row["arm"] == OURS and PLAIN in seconds:
            row["ratio_to_plain"] = row["seconds"] / seconds[PLAIN]
    return rows


def _benchmark(given: cli.Given) -> cli.Outcome:
    """Measures every pass of every convolution and prints the table."""
    config = configs.complete(given.read_config())
    arms = [OURS] + ([PLAIN] if given.plain else [])
    if given.torch:
        peers.check_installed()
        arms += [f"torch {layout}" for layout in LAYOUTS]
    about = timing.begin("conv", given, precision=config.precision)
    found = layers(config)
    found.setdefault(SPACE_TIME, 0)
    rows = []
    for layer, calls in found.items():
        for which in PASSES:
            measured = measure(
                layer,
                which,
                arms=arms,
                precision=config.precision,
                rounds=given.rounds,
                peak=about["peak_flop_per_second"],
            )
            label = {"layer": named(layer), "calls": calls, "pass": which}
            rows += [{**label, **row} for row in measured]
    print(timing.table(rows, COLUMNS))
    return cli.Outcome({**about, "rows": rows})


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.string("config", "configs/mnad.py:ped2", "Config file, or FILE:PRESET.")
    command.switch("plain", "Measure JAX's own convolution, too.", default=True)
    command.integer("rounds", 5, "Timed calls of each arm.", least=1)
    command.switch("torch", "Run the same in PyTorch, in turn.")
    return command.run(_benchmark, argv)


if __name__ == "__main__":
    sys.exit(main())

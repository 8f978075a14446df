"""Makes a run of published tensors: what PyTorch trained is scored and evaluated here.

    python -m vad_jax.convert --config=configs/mnad.py:ped2 --config.data.root=PED2
        --tensors=state_dict.npz [--memory=items.npz] [--step_size=sizes.npz]
        --workdir=runs/published

The training videos that the config names are read once: the statistics of normal clips, which the
protocol `online` needs, are measured on them. Then `vad_jax.evaluate` and `vad_jax.score` take the
workdir like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vad_jax import cli


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    command = cli.Command(__doc__)
    command.string("config", "configs/mnad.py:ped2", "Config file, or FILE:PRESET.")
    command.string(
        "tensors", None, "State dict: .npz, .safetensors or .pt.", needs="the state dict"
    )
    command.string("memory", None, "Memory items [M, C]: .npz, .npy, .safetensors or .pt.")
    command.string("step_size", None, "Learned step sizes by state-dict name, like --tensors.")
    command.string("workdir", None, "Where the run is kept.", needs="the run's folder")
    return command.run(_convert, argv)


def _convert(given: cli.Given) -> cli.Outcome:
    from vad_jax.runs.converting import convert

    more = given.only("memory", "step_size")
    convert(given.read_config(), given.tensors, given.workdir, **more)
    return cli.Outcome({"workdir": given.workdir})


if __name__ == "__main__":
    sys.exit(main())

"""The raw folder that most checks begin with, and the command called in this process."""

from typing import NamedTuple

import numpy as np
import pytest
from support.raw_sets import JOINED, TRUTH, write_frames, write_masks

from vad_jax import prepare


@pytest.fixture
def root(tmp_path):
    """A folder of the generic form: two training and two test videos of six frames, and masks."""
    root = tmp_path / "mine"
    for name, labels in TRUTH.items():
        write_frames(root / "training" / "frames" / name, 6)
        write_frames(root / "testing" / "frames" / name, 6)
        write_masks(root / "masks" / name, labels)
    np.save(root / "labels.npy", JOINED)
    return root


class Done(NamedTuple):
    """What a command did: its exit code, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(capsys):
    """Calls the command in this process."""

    def command(*arguments):
        capsys.readouterr()
        return Done(prepare.main(arguments), *capsys.readouterr())

    return command

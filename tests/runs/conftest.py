"""Runs of a toy method, made in a second: what is promised of every method is tried on them."""

import shutil
import sys
from pathlib import Path

import pytest
from support.folders import of_films, small_set

from vad_jax import config as configs
from vad_jax import methods
from vad_jax.evaluation import read_metrics
from vad_jax.runs.training import train

MODULES = str(Path(__file__).resolve().parents[1] / "support" / "method_modules")


@pytest.fixture(scope="module", autouse=True)
def toy_methods():
    """For one module, `config.method` may name the modules in `support/method_modules`, too."""
    methods.__path__.append(MODULES)
    yield
    methods.__path__.remove(MODULES)
    sys.modules.pop("vad_jax.methods.level", None)


@pytest.fixture(scope="module")
def level_config(toy_methods, synthetic_root):
    """A function that makes the config of a run of `level`; keys by `section__name`."""

    def make(**changes):
        config = configs.defaults("level")
        given = {
            "data__name": "synthetic",
            "data__root": str(synthetic_root),
            "data__cache": str(synthetic_root.parent / "cache"),
            "data__validation": ("05",),
            "data__backend": "resident",
            "log_steps": 10,
        }
        flat = {key.replace("__", "."): value for key, value in (given | changes).items()}
        config.update_from_flattened_dict(flat)
        return configs.complete(config)

    return make


@pytest.fixture(scope="module")
def level_run(level_config, once):
    """The workdir of a finished run of `level`, and its metrics; nothing may change it."""
    workdir = once("level", lambda folder: train(level_config(), folder))
    return workdir, read_metrics(workdir / "metrics.json")


@pytest.fixture
def copied(level_run, tmp_path):
    """The run of `level` in another place."""
    return Path(shutil.copytree(level_run[0], tmp_path / "elsewhere" / "run"))


@pytest.fixture
def small(synthetic_root, tmp_path):
    """Two training and two test videos of 12 frames."""
    return small_set(synthetic_root, tmp_path / "small")


@pytest.fixture
def folder(tmp_path):
    """Two films, a folder of frames, and a text that calls itself a film."""
    return of_films(tmp_path / "in")

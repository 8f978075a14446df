"""Four CPU devices, no silent broadcasting between ranks; data beside the repository, if any."""

import contextlib
import fcntl
import importlib
import os
import subprocess
import tempfile
from pathlib import Path

import hypothesis
import jax
import pytest

from vad_jax import config as configs
from vad_jax.datasets.synthetic import write as write_synthetic
from vad_jax.evaluation import read_metrics
from vad_jax.runs.training import train

# PyTorch's compiler crashes the process where TensorFlow was imported before it.
with contextlib.suppress(ImportError):
    importlib.import_module("triton")
# How long an example takes says nothing where workers share the cores and programs are compiled.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests are many small programs: they compile fast rather than for speed.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
jax.config.update("jax_disable_most_optimizations", True)
# Equal programs are compiled once a session: workers and the commands that tests start share them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="vad_jax-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
# A compiled program keeps memory mapped; Linux allows a process 65,530 mappings and the compiler
# crashes at one more.
MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 30_000

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="module", autouse=True)
def few_mappings():
    """Drops compiled programs between modules when they have become too many."""
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()


@pytest.fixture(scope="module")
def x64():
    """Computes in float64 for one module."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="module")
def fully_optimised():
    """Compiles as users do, for modules whose numbers are compared with someone else's."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """A function that makes a folder once for all workers: the first one makes it, others wait."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def folder(name, make):
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (root / f"{name}.made").exists():
                make(root / name)
                (root / f"{name}.made").touch()
        return root / name

    return folder


@pytest.fixture(scope="session")
def synthetic_root(once):
    """The synthetic set as a generic folder; nothing may write into it."""
    return once("synthetic", write_synthetic)


def small_input(root):
    """Keys of every run of seconds: the synthetic set at 16x16, width 4."""
    return {
        "data.name": "synthetic",
        "data.root": str(root),
        "data.cache": str(root.parent / "cache"),
        "data.validation": ("05",),
        "data.backend": "resident",
        "input.height": 16,
        "input.width": 16,
        "input.channels": 1,
        "input.step": 4,
        "width": 4,
    }


@pytest.fixture(scope="session")
def run_config(synthetic_root):
    """A function that makes the config of a run of seconds; keys by `section__name`."""

    def make(**changes):
        config = configs.defaults("mnad")
        config.update_from_flattened_dict(
            {
                **small_input(synthetic_root),
                "memory.items": 4,
                "stages.train.epochs": 2,
                "stages.train.batch_size": 5,  # on one of the four devices: compiles faster
                "stages.train.learning_rate": 1e-3,
                "log_steps": 10,
            }
        )
        config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
        return configs.complete(config)

    return make


@pytest.fixture(scope="session")
def finished_run(run_config, once):
    """The workdir of a small run, trained and evaluated, and its metrics; nothing may change it."""
    workdir = once("finished", lambda folder: train(run_config(), folder))
    return workdir, read_metrics(workdir / "metrics.json")


@pytest.fixture(scope="session")
def meta_run(synthetic_root, once):
    """The workdir of a small MPN with all three stages, and its metrics; nothing may change it."""
    config = configs.defaults("mpn")
    config.update_from_flattened_dict(
        {
            **small_input(synthetic_root),
            "prototypes": 4,
            "stage_names": ("pretrain", "joint", "meta"),
            "meta.step_size": 1e-2,
            "log_steps": 10,
        }
    )
    for name in ("pretrain", "joint", "meta"):
        config.stages[name].update(epochs=1, batch_size=5, learning_rate=1e-3)
    workdir = once("meta", lambda folder: train(config, folder))
    return workdir, read_metrics(workdir / "metrics.json")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 MB; skipped where none can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(scope="session")
def ped2_root():
    """UCSD Ped2, repacked layout; tests that need it are skipped where it is absent."""
    root = SHARED / "data" / "ped2"
    if not root.is_dir():
        pytest.skip("needs UCSD Ped2 in ../shared/data/ped2")
    return root

"""The room's face: what it exports, how it is called, what it loads."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

from vad_jax import evaluation

HEAVY = ("matplotlib", "sklearn", "scipy", "cv2", "jinja2")
MODULES = [
    module.name for module in pkgutil.walk_packages(evaluation.__path__, "vad_jax.evaluation.")
]


@pytest.mark.parametrize("name", evaluation.__all__)
def test_public_name_is_documented_and_annotated(name):
    public = getattr(evaluation, name)
    assert inspect.getdoc(public)
    if inspect.isfunction(public):
        signature = inspect.signature(public)
        assert signature.return_annotation is not signature.empty
        assert all(p.annotation is not p.empty for p in signature.parameters.values())


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_room_loads_nothing_heavy():
    code = (
        "import sys, types, pathlib; house = types.ModuleType('vad_jax'); "
        f"house.__path__ = [{str(next(iter(importlib.import_module('vad_jax').__path__)))!r}]; "
        "sys.modules['vad_jax'] = house; import vad_jax.evaluation; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert {*HEAVY, "jax", "tensorflow"}.isdisjoint(loaded.stdout.split())
    house = {name for name in loaded.stdout.split() if name.startswith("vad_jax.")}
    assert {name.split(".")[1] for name in house} <= {
        "atomic",
        "disguise",
        "evaluation",
        "spelling",
        "types",
    }

"""The benchmark of meta-gradients: what it measures, not how fast it is."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from vad_jax.benchmarks import meta

SIZES = {"episodes": 2, "shots": 3, "size": 8, "width": 4}


@pytest.fixture(scope="module")
def given():
    return meta.start(**SIZES)


def test_all_arms_of_one_order_have_one_gradient(given):
    arms = {name: meta.build(*given, steps=2, **how)[0].call() for name, how in meta.ARMS.items()}
    (value, _), gradient = arms["order 2"]
    for name in ("order 2, remat", "order 2, chunk=1"):
        (other, _), found = arms[name]
        np.testing.assert_allclose(other, value, rtol=1e-5)  # float32
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert all(jax.tree.leaves(jax.tree.map(lambda g: bool((g != 0).any()), gradient)))


def test_memory_grows_with_the_steps_only_where_they_are_kept(given):
    def temporary(name, steps):
        return meta.build(*given, steps=steps, **meta.ARMS[name])[1]

    assert temporary("order 2", 12) > 2.5 * temporary("order 2", 3)
    assert temporary("order 2, remat", 12) < 1.5 * temporary("order 2, remat", 3)
    assert temporary("order 1", 12) < 1.5 * temporary("order 1", 3)


def test_a_row_is_made_for_each_arm(given):
    rows = meta.measure(2, *given, rounds=2)
    assert [(row["steps"], row["arm"]) for row in rows] == [(2, name) for name in meta.ARMS]
    for row in rows:
        assert 0 < row["spread"][0] <= row["seconds"] <= row["spread"][1]
        assert row["temporary_mb"] > 0
        assert row["compile_seconds"] > 0


@pytest.mark.slow
def test_the_command_prints_a_table_and_one_line_of_json():
    sizes = [f"--{name}={value}" for name, value in SIZES.items()]
    done = subprocess.run(
        [sys.executable, "-m", "vad_jax.benchmarks.meta", "--steps=1,2", "--rounds=1", "--json"]
        + sizes,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    assert any("order 2, remat" in line for line in table)
    figures = json.loads(last)
    assert {name: figures[name] for name in SIZES} == SIZES
    assert [row["steps"] for row in figures["rows"]] == [1] * 4 + [2] * 4

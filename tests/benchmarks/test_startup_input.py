"""The benchmarks of starts and of input, at the smallest size: what they measure, not how much."""

import json
import os
import sys

import pytest

from vad_jax import config as configs
from vad_jax.benchmarks import input as inputs
from vad_jax.benchmarks import startup
from vad_jax.types import DataError


@pytest.fixture
def config(run_config):
    return run_config(stages__train__batch_size=4)


def test_the_commands_are_found():
    found = startup.commands()
    assert {"train", "evaluate"} <= set(found)
    assert not {"cli", "config", "types", "scoring"} & set(found)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_a_fresh_process_tells_its_own_peak():
    plain = startup.fresh("")["resident_mb"]
    large = startup.fresh("found['seen'] = len(bytearray(b'x') * 60_000_000)")
    assert large["seen"] == 60_000_000
    assert 50 < large["resident_mb"] - plain < 90
    assert plain < 150  # not that of the test process, which is its parent


def test_a_process_that_fails_is_no_figure():
    with pytest.raises(RuntimeError, match="No module named 'nothing_of_that_name'"):
        startup.fresh("import nothing_of_that_name")


def test_the_first_step_is_taken_in_a_fresh_process(config):
    found = startup.first_step(configs.to_json(config), os.environ["JAX_COMPILATION_CACHE_DIR"])
    assert found.keys() == {"compile_seconds", "resident_mb"}
    assert found["compile_seconds"] > 0


@pytest.mark.slow
def test_the_first_step_takes_its_program_from_the_second_process_on(config, tmp_path):
    stored = configs.to_json(config)
    compiled = startup.first_step(stored, tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    assert any(name.startswith("jit_step") for name in files)
    kept = startup.first_step(stored, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == files
    assert kept["compile_seconds"] < compiled["compile_seconds"]


def test_every_part_of_the_way_of_the_data_is_measured(config, tmp_path):
    config.data.root = str(tmp_path / "not there")
    sources = inputs.footage(config.data, tmp_path)
    assert len(sources) == 5
    assert not (tmp_path / "not there").exists()
    rows = {r["arm"]: r for r in inputs.measure(config, sources[:2], batches=2, rounds=1)}
    ways = {"decode", "open the cache", "shuffle", "gather on the host", "feed tf", "feed resident"}
    assert rows.keys() == ways
    assert all(row["seconds"] > 0 for row in rows.values())
    assert rows["decode"]["frames_per_second"] * rows["decode"]["seconds"] == pytest.approx(240)
    shuffled = rows["shuffle"]
    assert shuffled["clips_per_second"] * shuffled["seconds"] == pytest.approx(2 * 29 // 4 * 4)
    fed = rows["feed tf"]
    assert fed["clips_per_second"] * fed["seconds"] == pytest.approx(8)
    json.dumps(list(rows.values()))


def test_videos_without_a_window_are_refused(config, tmp_path):
    config.input.stride = 60
    sources = inputs.footage(config.data, tmp_path)[:1]
    with pytest.raises(DataError, match="No video has a window of 241 whole frames"):
        inputs.measure(config, sources, batches=1, rounds=1)


def test_what_a_step_uses_is_laid_beside():
    rows = [{"arm": "feed tf", "clips_per_second": 80.0}, {"arm": "decode"}]
    feed, decode, step = inputs.beside_a_step(rows, seconds=0.1, clips=4)
    assert feed["times_a_step"] == 2
    assert decode == {"arm": "decode"}
    assert step["clips_per_second"] == 40

"""The benchmarks of steps, scores and convolutions: what they measure, never how fast it is."""

import json
import operator
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vad_jax import config as configs
from vad_jax.benchmarks import cases, conv, score, timing, train
from vad_jax.benchmarks import peak_memory as resident
from vad_jax.benchmarks.cases import Convolution
from vad_jax.benchmarks.timing import OURS, Built
from vad_jax.config_files import config_of
from vad_jax.types import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def config(run_config):
    return run_config()


# Timing


def test_arms_take_turns_and_each_is_called_once_before_it_is_timed():
    calls = []
    arms = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = timing.alternating(arms, 3)
    assert calls == list("aabb") * 3
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}


def test_the_median_lies_between_the_quartiles():
    found = timing.summary([5.0, 1.0, 2.0, 4.0, 3.0])
    assert found == {"seconds": 3.0, "spread": [2.0, 4.0], "rounds": 5}
    assert timing.summary([2.0]) == {"seconds": 2.0, "spread": [2.0, 2.0], "rounds": 1}


def test_our_time_is_compared_with_the_best_of_the_others():
    built = {
        name: Built(lambda n=n: sum(range(n)), None)
        for name, n in {OURS: 300, "torch a": 30_000, "torch b": 300_000, "x": 3}.items()
    }
    rows = timing.measured(built, rounds=3, operations=600, peak=1e9)
    ours, a, b, other = rows
    assert ours["ratio_to_best_torch"] == ours["seconds"] / min(a["seconds"], b["seconds"])
    assert "ratio_to_best_torch" not in other
    assert ours["gflop_per_second"] == pytest.approx(600 / ours["seconds"] / 1e9)
    assert ours["share_of_peak"] == pytest.approx(ours["gflop_per_second"])
    assert ours["cores_of_others"] is None or ours["cores_of_others"] >= 0


def test_the_peak_is_a_number(monkeypatch):
    monkeypatch.setattr(timing, "_SIZES", (32,))
    assert 0 < timing.matmul_peak() < np.inf


def test_a_fresh_process_tells_its_own_memory():
    arm = ("functools:partial", operator.mul, b"x", 60_000_000)  # a string of 60 MB
    found = resident.memory(*arm, keep_heap=False)
    assert 50 < found["peak_mb"] - found["before_mb"] < 90
    assert found["before_mb"] < 150  # neither JAX nor what this process holds


def test_the_twins_are_imported_without_jax():
    pytest.importorskip("torch")
    twins = "vad_jax.benchmarks.peers.mnad, vad_jax.benchmarks.peers.mpn"
    code = f"import sys, {twins}; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=60)


def test_a_table_leaves_out_what_no_row_has():
    rows = [{"arm": "a", "seconds": 0.25, "varied": {"width": "4"}}, {"arm": "b", "spread": [1, 2]}]
    columns = {"arm": "", "varied": "", "seconds": ".1f", "spread": ".0f", "clips": ".0f"}
    assert timing.table(rows, columns).splitlines() == [
        "arm  varied   seconds  spread",
        "a    width=4      0.2       –",
        "b    –              –     1…2",
    ]


# What is measured


def test_a_config_is_varied_in_keys_that_move_together(config):
    found = cases.varied(config, "input.height+input.width=32,64")
    assert [c.input.width for _, c in found] == [c.input.height for _, c in found] == [32, 64]
    assert found[0][0] == {"input.height": "32", "input.width": "32"}
    assert config.input.height == 16
    assert len(cases.varied(config, None)) == 1
    with pytest.raises(ConfigError, match="write KEY=V1,V2"):
        cases.varied(config, "width")
    with pytest.raises(ConfigError, match=r"no config key 'wdth'.*width"):
        cases.varied(config, "wdth=2")


def test_operations_follow_from_shapes():
    plain = Convolution("conv", (4, 256, 256, 12), (3, 3, 12, 64), (4, 256, 256, 64))
    assert plain.operations == 2 * 4 * 256 * 256 * 9 * 12 * 64
    wide = Convolution("upsample", (4, 32, 32, 512), (3, 3, 512, 256), (4, 64, 64, 256))
    assert wide.operations == 2 * 4 * 32 * 32 * 9 * 512 * 256


@pytest.mark.parametrize(("method", "operations"), [("mnad", 1.12e12), ("mpn", 1.066e12)])
def test_a_step_of_the_papers_setting_takes_about_a_teraflop(method, operations):
    config = configs.complete(config_of(str(REPOSITORY / f"configs/{method}.py:ped2")))
    assert train.operations(config) == pytest.approx(operations, rel=0.01)
    assert len(cases.training_layers(config)) == 20  # 8 down, 3 + 8 up, 1 out


@pytest.mark.parametrize("policy", ["never", "gated"])
def test_every_window_counts_once_with_and_without_a_scan(config, policy):
    config = config.copy_and_resolve_references()
    config.memory["update"] = policy
    one, again, eight = (score.operations(config, windows) for windows in (1, 1, 8))
    assert one == again > 0
    assert eight == 8 * one


# The commands' rows


def in_order(row):
    low, high = row["spread"]
    return 0 < low <= row["seconds"] <= high


def test_a_step_is_measured_beside_torch(config):
    pytest.importorskip("torch")
    built = {name: train.build(config, name) for name in (OURS, "torch eager")}
    losses = {name: [float(arm.call()) for _ in range(3)] for name, arm in built.items()}
    assert losses[OURS][0] > losses[OURS][2]  # the real step: it trains from call to call
    np.testing.assert_allclose(losses["torch eager"], losses[OURS], rtol=1e-3)  # float32
    rows = train.measure(config, built, rounds=2, peak=1e9)
    assert [row["arm"] for row in rows] == list(built)
    for row in rows:
        assert in_order(row)
        assert row["clips_per_second"] == pytest.approx(5 / row["seconds"])
        work = row["share_of_peak"] * row["seconds"] * 1e9
        assert work == pytest.approx(train.operations(config))
    ours, theirs = rows
    assert ours["compile_seconds"] > 0
    assert theirs["compile_seconds"] is None
    assert ours["ratio_to_best_torch"] == ours["seconds"] / theirs["seconds"]


def test_scores_are_measured_alone_side_by_side_and_from_files(config, monkeypatch):
    monkeypatch.setattr(score, "BATCHES", (2,))
    rows = score.measure(config, names=[OURS], streams=3, videos=2, frames=20, rounds=2, peak=1e9)
    arms = [OURS, f"{OURS} gated"]
    assert [(row["row"], row["arm"]) for row in rows] == [
        (kind, arm) for kind in ("network", "streams", "end_to_end") for arm in arms
    ]
    step = config.input.step
    seen = {"network": 2 * step, "streams": 3 * step, "end_to_end": 40}
    for row in rows:
        assert in_order(row)
        assert row["frames_per_second"] == pytest.approx(seen[row["row"]] / row["seconds"])


def test_a_method_without_memory_has_one_arm(run_config):
    config = run_config(memory__items=0)
    assert score.arms(config, [OURS]) == {OURS: config}
    assert score.stream_rows(config, 2, rounds=1, peak=1.0) == []


SMALL = [
    Convolution("conv", (2, 8, 8, 3), (3, 3, 3, 4), (2, 8, 8, 4)),
    Convolution("conv", (2, 8, 8, 3), (3, 3, 3, 4), (2, 4, 4, 4)),
    Convolution("upsample", (2, 4, 6, 3), (3, 3, 3, 4), (2, 8, 12, 4)),
    Convolution("conv", (1, 4, 8, 8, 3), (3, 3, 3, 3, 4), (1, 4, 8, 8, 4)),
]


def channels_last(layer, which, array):
    """PyTorch's result in our layout."""
    space = len(layer.kernel) - 2
    if which != "filter_gradient":
        return np.moveaxis(array, 1, -1)
    taps = range(2, 2 + space)
    return array.transpose((*taps, 0, 1) if layer.kind == "upsample" else (*taps, 1, 0))


@pytest.mark.parametrize("which", conv.PASSES)
@pytest.mark.parametrize("layer", SMALL, ids=conv.named)
def test_all_arms_of_a_convolution_do_the_same(layer, which):
    given = conv.arrays(layer)
    expected = conv.jax_arm(conv.plain(layer), which, *given)()
    close = {"rtol": 1e-4, "atol": 1e-4}  # float32 sums of up to 256 products of size one
    found = conv.jax_arm(conv.ours(layer), which, *given)()
    np.testing.assert_allclose(found, expected, **close)
    pytest.importorskip("torch")
    for layout in conv.LAYOUTS:
        found = conv.torch_arm(layer, which, layout, *given)().cpu().numpy()
        np.testing.assert_allclose(channels_last(layer, which, found), expected, **close)


def test_a_convolution_is_compared_with_jaxs_own():
    ours, plain = conv.measure(SMALL[0], "forward", arms=[OURS, conv.PLAIN], rounds=2, peak=1e9)
    assert ours["ratio_to_plain"] == ours["seconds"] / plain["seconds"]
    assert ours["milliseconds"] == 1000 * ours["seconds"]


def test_every_distinct_shape_of_the_network_is_found(config):
    found = conv.layers(config)
    assert found.total() == 20
    assert len(found) < 20
    assert {layer.kind for layer in found} == {"conv", "upsample"}


# Real commands


def command(name, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", f"vad_jax.benchmarks.{name}", *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=300,
        check=False,
    )
    return done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("train", ["--vary=stages.train.batch_size=2,3", "--memory"]),
        ("score", ["--streams=2", "--videos=2", "--frames=8", "--memory"]),
        ("conv", ["--noplain", "--keep_heap"]),
        ("episode", ["--config=configs/mpn.py:tiny", "--rows=step", "--rows=parts", "--memory"]),
    ],
)
def test_a_command_prints_a_table_and_one_line_of_json(name, more):
    done = command(name, "--config=configs/mnad.py:tiny", "--rounds=2", "--json", *more)
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    assert any(line.split()[:1] == ["vad_jax"] or " vad_jax " in line for line in table)
    figures = json.loads(last)
    assert figures["benchmark"] == name
    assert {
        "machine",
        "peak_flop_per_second",
        "command",
        "config",
        "rows",
        "keep_heap",
    } <= figures.keys()
    assert all(in_order(row) for row in figures["rows"])
    if "--memory" in more:
        row = figures["rows"][0]
        assert 0 < row["before_mb"] <= row["peak_mb"]


def test_mistakes_are_one_message_and_exit_code_2(capsys):
    config = f"--config={REPOSITORY / 'configs' / 'mnad.py'}:tiny"
    assert train.main([config, "--vary=widht=2"]) == 2
    said = capsys.readouterr().err
    assert "ConfigError: There is no config key 'widht'" in said
    assert "Traceback" not in said

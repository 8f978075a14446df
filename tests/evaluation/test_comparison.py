"""Several runs in one table, from what is on disk."""

import copy

import pytest

from vad_jax.evaluate import compare
from vad_jax.evaluation import comparison
from vad_jax.types import ConfigError


def cells(table):
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows if not row[0].startswith("---")}


@pytest.fixture(scope="module")
def runs(finished_run):
    """The finished run, a repetition with another seed, and one of another config."""
    first = finished_run[1]
    second, other = copy.deepcopy(first), copy.deepcopy(first)
    second["run"]["config"]["seed"] = 1
    for protocol in ("paper", "online"):
        for metric in ("auc_micro", "auc_macro"):
            second["protocols"][protocol]["raw"][metric]["value"] += 0.04
    other["run"]["config"]["width"] = 99
    return {"a": first, "b": second, "c": other}


def test_every_run_has_its_line_with_the_figures_of_its_file(runs):
    found = cells(comparison(runs))
    value = 100 * runs["a"]["protocols"]["paper"]["raw"]["auc_micro"]["value"]
    assert found["a"][0] == "0"
    assert found["a"][1].startswith(f"{value:.1f} (")
    assert "a, psnr_only" in found
    assert found["c"][1] == found["a"][1]


def test_only_repetitions_are_taken_together(runs):
    found = cells(comparison(runs))
    value = 100 * runs["a"]["protocols"]["paper"]["raw"]["auc_micro"]["value"]
    mean, spread = value + 2, 4 / 2**0.5
    assert found["mean of 2 seeds"][1] == (
        f"{mean:.1f} ± {spread:.1f}, {value:.1f} to {value + 4:.1f}"
    )
    assert "mean of 3 seeds" not in found
    assert "mean of 2 seeds" not in cells(comparison({"a": runs["a"], "c": runs["c"]}))


def test_runs_on_the_same_frames_have_one_line_of_controls(runs):
    table = comparison(runs)
    assert table.count("best control") == 1
    best = max(row["value"] for row in runs["a"]["controls"]["paper"]["raw"]["auc_micro"].values())
    assert f"{100 * best:.1f} (" in table.splitlines()[-1]


def test_two_runs_of_one_name_are_refused(finished_run):
    with pytest.raises(ConfigError, match="Two workdirs are called finished"):
        compare([finished_run[0], finished_run[0]])


def test_a_table_comes_from_the_files(finished_run, capsys):
    found = compare([finished_run[0]])
    assert list(found) == ["finished"]
    assert "| finished | 0 |" in capsys.readouterr().out

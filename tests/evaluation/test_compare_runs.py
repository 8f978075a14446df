"""Several runs in one table, from what is on disk."""

import copy
import html
import re
from dataclasses import replace

import numpy as np
import pytest

from vad_jax import evaluation
from vad_jax.evaluation import comparison
from vad_jax.types import DataError


def cells(tables, which=0):
    table = tables.split("\n\n")[which]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows if not row[0].startswith("---")}


def of(scored, *, seed=0, width=16):
    """What `summarise` makes of scores, with a config."""
    run = {"seed": seed, "recipe_hash": f"width {width}"}
    return evaluation.summarise(scored, run=run, recomputed=2)  # no table shows AP or EER


def moved(scored, seed):
    """Another run on the same frames: the scores with noise."""
    random = np.random.default_rng(seed)
    scores = {
        name: [video + random.normal(size=len(video)) for video in videos]
        for name, videos in scored.scores.items()
    }
    return replace(scored, scores=scores, results={})


@pytest.fixture(scope="module")
def drawn(enough):
    """Two seeds of one config, and a run of another."""
    scored = replace(enough, results={})
    files = {"a": scored, "b": moved(scored, 1), "c": moved(scored, 2)}
    runs = {"a": of(files["a"]), "b": of(files["b"], seed=1), "c": of(files["c"], width=99)}
    return runs, files


@pytest.fixture
def three(drawn):
    """The same, to be changed."""
    return copy.deepcopy(drawn)


def test_every_run_has_its_line_with_the_figures_of_its_file(three):
    found = cells(comparison(*three))
    for name in "abc":
        value = 100 * three[0][name]["protocols"]["paper"]["raw"]["auc_micro"]["value"]
        assert found[name][1].startswith(f"{value:.1f} ("), name


def test_only_repetitions_are_taken_together(three):
    found = cells(comparison(*three))
    a, b = (
        100 * three[0][name]["protocols"]["paper"]["raw"]["auc_micro"]["value"] for name in "ab"
    )
    spread = abs(a - b) / 2**0.5
    said = f"{(a + b) / 2:.1f} ± {spread:.1f}, {min(a, b):.1f} to {max(a, b):.1f}"
    assert found["mean of 2 seeds"][1] == said
    assert "interval of 2 seeds" in found
    assert not [name for name in found if "3 seeds" in name]


@pytest.mark.parametrize(
    "change", [{"seed": 0}, {"training_data_hash": "other"}, {"recipe_hash": None}]
)
def test_a_copy_and_a_run_of_other_training_are_no_repetition(three, change):
    runs, files = three
    runs["b"]["run"] |= change
    found = cells(comparison(runs, files))
    assert {"a", "b", "c"} <= set(found)
    assert not [name for name in found if "seeds" in name]


def test_the_interval_of_seeds_that_agree_is_that_of_one(three):
    runs, files = three
    runs, files = (
        {"a": runs["a"], "b": copy.deepcopy(runs["a"])},
        {"a": files["a"], "b": files["a"]},
    )
    runs["b"]["run"]["seed"] = 1
    figure = runs["a"]["protocols"]["paper"]["raw"]["auc_micro"]
    found = cells(comparison(runs, files))["interval of 2 seeds"][1]
    assert found == f"{100 * figure['low']:.1f} to {100 * figure['high']:.1f}"


def test_differences_are_those_of_the_paired_bootstrap(three):
    found = cells(comparison(*three), 1)
    labels = [np.maximum(video, 0) for video in three[1]["a"].labels]
    for name in "bc":
        a, b = (three[1][run].scores["paper_raw"] for run in (name, "a"))
        expected = evaluation.paired_bootstrap(labels, a, b, evaluation.auc_micro)
        interval = f"({100 * expected.low:+.1f} to {100 * expected.high:+.1f}), p {expected.p:.3f}"
        assert found[name][0].endswith(interval)


def test_too_few_videos_are_said_in_every_cell(test_set):
    scored = replace(test_set, results={})
    files = {"a": scored, "b": moved(scored, 1)}
    runs = {"a": of(files["a"]), "b": of(files["b"], seed=1)}
    text = comparison(runs, files)
    for row in ("a", "b"):
        assert all(cell.endswith(" (too few videos to say)") for cell in cells(text)[row][1:])
    assert cells(text)["interval of 2 seeds"][1:] == ["too few videos to say"] * 3
    assert all(cell.endswith(" (too few videos to say)") for cell in cells(text, 1)["b"])
    assert "p " not in text.replace("points", "")


def test_a_run_does_not_differ_from_itself(three):
    runs, files = three
    runs = {"a": runs["a"], "b": runs["a"]}
    found = cells(comparison(runs, dict.fromkeys("ab", files["a"])), 1)
    assert found["b"][0] == "+0.0 (+0.0 to +0.0), p 1.000"


def test_runs_on_other_labels_are_not_compared(three):
    runs, files = three
    labels = [1 - video for video in files["a"].labels]
    files["c"] = replace(files["c"], labels=labels)
    with pytest.raises(DataError, match="c and a were evaluated on other videos or labels"):
        comparison(runs, files)


def test_a_table_has_no_column_of_a_methods_own(three):
    three[0]["a"]["part_means"] = {"updated": 0.25}
    (table, _) = evaluation.comparison_tables(*three)
    assert table.head == ("run", "seed", "micro, paper", "micro, online", "macro, paper")
    assert {len(row) for row in table.rows} == {len(table.head)}
    assert "means over the frames: updated 0.25" in evaluation.table(three[0]["a"])


def test_runs_on_the_same_frames_have_one_line_of_controls(three):
    table = comparison(*three)
    assert table.count("best control") == 1


def test_the_page_holds_the_tables_and_asks_for_nothing(three, tmp_path):
    runs, files = three
    evil = "<script>alert(1)</script>"
    runs, files = ({evil: each["a"], "b": each["b"]} for each in (runs, files))
    tables = evaluation.comparison_tables(runs, files)
    path = evaluation.render_comparison(tmp_path / "c.html", runs, tables, command=evil)
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert not re.search(r"https?:|src=|href=|url\(", text)
    plain = html.unescape(re.sub(r"<[^>]*>", "\n", text))
    for table in tables:
        for row in (table.head, *table.rows):
            assert all(cell in plain for cell in row)
    assert plain.count(evil) >= 4  # title, heading, bars, table
    assert [table.title for table in tables] == ["Runs", "Differences"]
    assert len(evaluation.comparison_tables({"b": runs["b"]}, {"b": files["b"]})) == 1

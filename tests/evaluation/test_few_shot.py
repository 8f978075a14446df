"""Figures of K-shot evaluation: drawn once, and the table is what was drawn."""

import re
from dataclasses import replace

import numpy as np
import pytest

from vad_jax import evaluation
from vad_jax.evaluation import difference, few_shot_figures, few_shot_table
from vad_jax.evaluation.differences import difference_parts, difference_text
from vad_jax.types import DataError

FEW = {"replicates": 50}
SCENES = tuple("abcdefga")


def shifted(scored, seed):
    """Other scores of the same frames."""
    random = np.random.default_rng(seed)
    scores = {
        name: [video + 0.5 * random.normal(size=len(video)) for video in videos]
        for name, videos in scored.scores.items()
    }
    return replace(scored, scores=scores)


@pytest.fixture
def shots(enough):
    return {number: shifted(enough, number) for number in (0, 1, 5)}


def test_figures_are_those_of_the_evaluation(shots):
    found = few_shot_figures(shots, **FEW)
    assert list(found) == ["0", "1", "5"]
    own = shots[5]
    for protocol in ("paper", "online"):
        for name, metric in (("auc_micro", evaluation.auc_micro), ("auc_macro", _macro)):
            figure = found["5"][protocol][name]
            right = metric(own.labels, own.scores[f"{protocol}_raw"])
            assert figure["value"] == pytest.approx(right, abs=1e-12)
            assert figure["low"] <= figure["value"] <= figure["high"]
            gap = found["5"][protocol][f"{name}_difference"]
            assert gap == difference(own, shots[0], f"{protocol}_raw", name, **FEW)
            assert f"{name}_difference" not in found["0"][protocol]


def _macro(labels, scores):
    return evaluation.auc_macro(labels, scores).value


def test_difference_is_that_of_the_paired_draws(shots):
    a, b = shots[5], shots[0]
    found = difference(a, b, "paper_raw", "auc_micro", groups=SCENES)
    columns = a.scores["paper_raw"], b.scores["paper_raw"]
    drawn = evaluation.paired_bootstrap(a.labels, *columns, evaluation.auc_micro, groups=SCENES)
    values = [evaluation.auc_micro(a.labels, column) for column in columns]
    assert found["value"] == values[0] - values[1]
    assert (found["low"], found["high"], found["p"]) == (drawn.low, drawn.high, drawn.p)


def test_frames_of_unknown_label_leave_both(shots):
    a, b = (replace(shots[n], labels=[video.copy() for video in shots[n].labels]) for n in (5, 0))
    for run in (a, b):
        run.labels[0][20:30] = -1
        run.scores["paper_raw"][0][20:30] = 1e6
    kept = [video >= 0 for video in a.labels]
    found = difference(a, b, "paper_raw", "auc_micro", **FEW)
    values = [
        evaluation.auc_micro(
            [video[own] for video, own in zip(run.labels, kept, strict=True)],
            [video[own] for video, own in zip(run.scores["paper_raw"], kept, strict=True)],
        )
        for run in (a, b)
    ]
    assert found["value"] == pytest.approx(values[0] - values[1], abs=1e-12)


def test_other_labels_do_not_compare(shots):
    other = replace(shots[5], labels=[1 - video for video in shots[5].labels])
    with pytest.raises(DataError, match="on other videos or labels"):
        difference(shots[0], other, "paper_raw", "auc_micro")
    with pytest.raises(DataError, match="on other videos or labels"):
        difference(shots[0], replace(shots[5], names=tuple("abcd")), "paper_raw", "auc_micro")


def test_table_holds_the_figures_and_the_differences(shots, enough):
    other = {number: shifted(enough, 10 + number) for number in (0, 5)}
    runs = {"one": shots, "two": other}
    figures = {name: few_shot_figures(own, scenes=SCENES, **FEW) for name, own in runs.items()}
    lines = few_shot_table(runs, figures, scenes=SCENES, **FEW).splitlines()
    assert "intervals over 7 scenes" in " ".join(lines[:2])
    assert lines[0].startswith("8 videos, 276 frames")  # 308 without the first four of each
    assert all(len(line) <= 100 for line in lines)
    rows = [line for line in lines if line.startswith(("one", "two", "  minus"))]
    assert [re.split(r"\s{2,}", line.strip())[0] for line in rows] == [
        *("one", "one", "minus 0 shots", "one", "minus 0 shots"),
        *("two", "minus one", "two", "minus 0 shots", "minus one"),
    ]
    five = figures["one"]["5"]["online"]
    assert f"{100 * five['auc_micro']['value']:.1f} (" in rows[3]
    assert difference_parts(five["auc_micro_difference"])[0] in rows[4]
    between = difference(other[5], shots[5], "paper_raw", "auc_macro", groups=SCENES, **FEW)
    assert rows[-1].endswith(difference_parts(between)[0])
    assert lines[-1].endswith(difference_parts(between)[1])


def test_too_few_videos_are_said_and_no_p(scored):
    few = {number: shifted(scored, number) for number in (0, 5)}
    figures = {"one": few_shot_figures(few, **FEW)}
    text = few_shot_table({"one": few}, figures, **FEW)
    assert "too few videos to say: 3 of both classes, 6 are needed" in " ".join(text.split())
    assert "interval" not in text
    assert text.splitlines()[-1].split("  ")[-1].strip() == "too few videos to say"
    gap = figures["one"]["5"]["paper"]["auc_micro_difference"]
    assert (gap["low"], gap["high"], gap["p"]) == (None, None, None)
    assert difference_text(gap) == f"{100 * gap['value']:+.1f} (too few videos to say)"


def test_table_draws_no_figure_anew(shots):
    figures = few_shot_figures(shots, **FEW)
    figures["5"]["paper"]["auc_micro"]["value"] = 0.12345
    assert "12.3 (" in few_shot_table({"one": shots}, {"one": figures}, **FEW)
    text = few_shot_table({"one": shots}, {"one": figures}, **FEW)
    assert "intervals over videos" in " ".join(text.split())


def test_a_difference_that_does_not_exist_is_a_dash(shots):
    one_class = [np.ones_like(video) for video in shots[0].labels]
    a, b = (replace(shots[n], labels=one_class) for n in (5, 0))
    assert difference_text(difference(a, b, "paper_raw", "auc_micro", **FEW)) == "–"

"""The figures of a run, and whether they beat the controls."""

import dataclasses
import json
import math

import numpy as np
import pytest

from vad_jax.evaluation import auc_micro, controls, minmax, summarise, table
from vad_jax.evaluation.score_files import PROTOCOLS, SCORES, VARIANTS
from vad_jax.types import DataError, Fusion

FEW = {"replicates": 100, "recomputed": 20}


def every_number(value):
    if isinstance(value, dict):
        return [n for inner in value.values() for n in every_number(inner)]
    if isinstance(value, list):
        return [n for inner in value for n in every_number(inner)]
    return [value] if isinstance(value, float) else []


def scoring(scored, values):
    return dataclasses.replace(scored, scores=dict.fromkeys(SCORES, values))


@pytest.fixture
def metrics(scored, frames):
    return summarise(scored, frames, run={"checkpoint": "last"}, **FEW)


def test_every_figure_has_its_interval_or_its_reason(metrics):
    for protocol in PROTOCOLS:
        for variant in VARIANTS:
            figures = metrics["protocols"][protocol][variant]
            for name in ("auc_micro", "auc_macro", "auc_macro_padded", "ap", "eer"):
                assert figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"]
                assert figures[name]["level"] == 0.95
            for name in ("pixel_auc_40", "pixel_auc", "rbdc", "tbdc"):
                assert figures[name]["value"] is None
                assert "no maps were given" in figures[name]["why"]


def test_recomputed_figures_state_their_replicates(metrics):
    figures = metrics["protocols"]["paper"]["raw"]
    assert figures["auc_micro"]["replicates"] + figures["auc_micro"]["dropped"] == 100
    assert figures["ap"]["replicates"] + figures["ap"]["dropped"] == 20


def test_metrics_are_plain_and_never_nan(metrics):
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert all(math.isfinite(number) for number in every_number(metrics))


def test_data_and_run_are_stated(metrics):
    data = metrics["data"]
    assert (data["frames"], data["scored"], data["unscored"]) == (140, 124, 16)
    assert data["macro_skipped"] == ["04"]
    assert metrics["per_video"][3]["auc"]["paper"]["raw"] is None
    assert metrics["run"]["checkpoint"] == "last"
    assert metrics["run"]["method"] == "mnad"
    assert metrics["recognition"] is None
    assert metrics["protocols"]["paper"]["raw"]["ap"]["chance"] == data["positives"] / 124


def test_control_as_a_method_is_marked_as_not_above_the_controls(scored, frames):
    own = [minmax(video) for video in controls(frames)["mean squared difference"]]
    metrics = summarise(scoring(scored, own), frames, **FEW)
    assert metrics["beats_controls"]["paper"]["raw"]["auc_micro"] is False
    assert "NOT above the best control (" in table(metrics)


def test_perfect_method_is_above_noisy_controls(scored, frames):
    noise = [np.random.default_rng(0).integers(0, 9, v.shape).astype("u1") for v in frames]
    labels = [np.resize([0, 1, 0, 0, 1], len(video)).astype(np.int8) for video in frames]
    perfect = scoring(dataclasses.replace(scored, labels=labels), [v * 1.0 for v in labels])
    metrics = summarise(perfect, noise, **FEW)
    assert metrics["beats_controls"]["paper"]["raw"] == {"auc_micro": True, "auc_macro": True}
    assert "paper raw, AUC micro: above the best control (" in table(metrics)


def test_controls_are_smoothed_where_the_method_is(scored, frames):
    smoothing = (("smooth", (0.2,) * 5, "zero", False),)
    fusion = Fusion(paper=smoothing, online=(), default="fused")
    found = summarise(scored, frames, fusion=fusion, **FEW)["controls"]
    assert found["paper"]["raw"] != found["paper"]["smoothed"]
    assert found["online"]["raw"] == found["online"]["smoothed"]


def test_without_frames_the_controls_of_time_remain(scored):
    metrics = summarise(scored, **FEW)
    found = metrics["controls"]["paper"]["raw"]["auc_micro"]
    assert set(found) == {"constant", "frame index", "position", "video number", "random"}
    assert metrics["data"]["controls_saw_frames"] is False


def test_frames_of_another_set_are_refused(scored, frames):
    with pytest.raises(DataError, match="controls saw videos of"):
        summarise(scored, frames[1:], **FEW)


def test_frames_of_unknown_label_leave_the_figures(scored, frames):
    labels = [video.copy() for video in scored.labels]
    labels[0][20:] = -1
    metrics = summarise(dataclasses.replace(scored, labels=labels), frames, **FEW)
    assert metrics["data"]["unknown_labels"] == 20
    kept = [labels[0][:20], *labels[1:]]
    scores = [scored.scores["paper_raw"][0][:20], *scored.scores["paper_raw"][1:]]
    assert metrics["protocols"]["paper"]["raw"]["auc_micro"]["value"] == auc_micro(kept, scores)


@pytest.mark.parametrize(
    ("label", "why"), [(-1, "no frame has both"), (0, "of one class"), (1, "of one class")]
)
def test_figures_that_do_not_exist_say_why(scored, frames, label, why):
    labels = [np.full(len(video), label, np.int8) for video in scored.labels]
    metrics = summarise(dataclasses.replace(scored, labels=labels), frames, **FEW)
    figure = metrics["protocols"]["paper"]["raw"]["auc_micro"]
    assert figure["value"] is None
    assert why in figure["why"]
    assert metrics["beats_controls"]["paper"]["raw"]["auc_micro"] is None
    assert "no figure to compare" in table(metrics)


def test_table_prints_every_figure_beside_its_chance(metrics):
    text = table(metrics)
    for title in ("AUC micro", "AUC macro (strict)", "AUC macro padded", "chance", "equal error"):
        assert title in text
    assert "strict macro leaves out videos of one class: 04" in text

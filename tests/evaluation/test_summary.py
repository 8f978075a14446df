"""The figures of a run, and whether they beat the controls."""

import dataclasses
import json
import math
import re

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
def many_frames(enough):
    """Noise for the videos of `enough`, with more of it towards the end."""
    random = np.random.default_rng(5)
    return [
        (random.random((len(v), 6, 8)) * np.linspace(20, 255, len(v))[:, None, None]).astype("u1")
        for v in enough.labels
    ]


@pytest.fixture
def metrics(scored, frames):
    return summarise(scored, frames, run={"checkpoint": "last"}, **FEW)


def test_every_figure_has_its_interval_or_its_reason(enough, many_frames):
    metrics = summarise(enough, many_frames, **FEW)
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


def test_control_as_a_method_is_marked_as_not_above_the_controls(enough, many_frames):
    own = [minmax(video) for video in controls(many_frames)["mean squared difference"]]
    metrics = summarise(scoring(enough, own), many_frames, **FEW)
    assert metrics["beats_controls"]["paper"]["raw"]["auc_micro"] is False
    assert "NOT above the best control (" in table(metrics)


def test_perfect_method_is_above_noisy_controls(enough, many_frames):
    noise = [np.random.default_rng(0).integers(0, 9, v.shape).astype("u1") for v in many_frames]
    labels = [np.resize([0, 1, 0, 0, 1], len(video)).astype(np.int8) for video in noise]
    perfect = scoring(dataclasses.replace(enough, labels=labels), [v * 1.0 for v in labels])
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


# Few videos, and what padding alone would make


def test_too_few_videos_have_no_interval_and_no_badge_in_words(metrics):
    for protocol in PROTOCOLS:
        for variant in VARIANTS:
            for name in ("auc_micro", "auc_macro", "auc_macro_padded", "ap", "eer"):
                figure = metrics["protocols"][protocol][variant][name]
                assert (figure["low"], figure["high"]) == (None, None)
                assert figure["why"] == "too few videos to say: 3 of both classes, 6 are needed"
            assert set(metrics["beats_controls"][protocol][variant].values()) == {None}
            for row in metrics["controls"][protocol][variant]["auc_micro"].values():
                assert (row["low"], row["high"]) == (None, None)
    text = table(metrics)
    assert " to " not in " ".join(line for line in text.splitlines() if line.startswith("AUC"))
    assert "paper raw, AUC micro: too few videos to say (best control: " in text
    assert "above the best control" not in text
    assert "too few videos to say: 3 of both classes, 6 are needed" in " ".join(text.split())


def test_scenes_are_the_clusters_where_videos_share_them(enough, many_frames):
    def over(scenes):
        meta = enough.meta | {"scenes": scenes}
        return summarise(dataclasses.replace(enough, meta=meta), many_frames, **FEW)

    alone = summarise(enough, many_frames, **FEW)
    found = over(list("abcdefgg"))
    assert found["data"]["scenes"] == 7
    assert "intervals over 7 scenes" in table(found)
    few = over(list("aabbccdd"))
    figure = few["protocols"]["paper"]["raw"]["auc_micro"]
    assert figure["why"] == "too few scenes to say: 4 of both classes, 6 are needed"
    for no_spread in (list("aaaaaaaa"), list("abcdefgh")):
        assert over(no_spread)["protocols"] == alone["protocols"]


@pytest.mark.parametrize("label", [0, 1])
def test_a_set_of_one_class_has_no_figure_that_padding_makes(scored, frames, label):
    labels = [np.full(len(video), label, np.int8) for video in scored.labels]
    metrics = summarise(dataclasses.replace(scored, labels=labels), frames, **FEW)
    for name in ("auc_macro_padded", "auc_macro_padded01"):
        assert metrics["protocols"]["paper"]["raw"][name]["value"] is None
    assert "100.0" not in table(metrics)


def test_videos_of_one_class_each_have_no_figure_that_padding_makes(scored, frames):
    labels = [np.full(len(video), i % 2, np.int8) for i, video in enumerate(scored.labels)]
    metrics = summarise(dataclasses.replace(scored, labels=labels), frames, **FEW)
    figures = metrics["protocols"]["paper"]["raw"]
    assert figures["auc_micro"]["value"] is not None
    for name in ("auc_macro_padded", "auc_macro_padded01"):
        assert figures[name]["value"] is None
        assert "padding alone" in figures[name]["why"]


# What is printed


def test_no_line_is_wider_than_a_hundred_columns_and_columns_do_not_touch(enough, many_frames):
    smoothing = (("smooth", (0.2,) * 5, "zero", False),)
    fusion = Fusion(paper=smoothing, online=smoothing, default="fused")
    smoothed = {
        name: [video * (1 + name.endswith("smoothed") * np.arange(len(video))) for video in videos]
        for name, videos in enough.scores.items()
    }
    wide = dataclasses.replace(
        enough,
        scores=smoothed,
        results={f"a further result of a long name_{key}": smoothed[key] for key in SCORES},
    )
    lines = table(summarise(wide, many_frames, fusion=fusion, **FEW)).splitlines()
    assert max(map(len, lines)) <= 100
    (heads,) = (line for line in lines if "paper smoothed" in line and "online raw" in line)
    assert len(re.split(r"\s{2,}", heads.strip())) == 4
    micro = lines.index(next(line for line in lines if line.startswith("AUC micro ")))
    assert re.fullmatch(r"AUC micro(\s{2,}[\d.]+){4}", lines[micro])
    assert re.fullmatch(r"(\s{2,}\([\d.]+ to [\d.]+\)){4}", lines[micro + 1])


def test_every_word_that_is_printed_is_explained_once(metrics):
    text = table(metrics)
    for word in ("raw", "paper", "online", "micro", "macro", "strict", "padded", "control"):
        assert text.count(f"\n{word}: ") == 1, word
    assert "\nsmoothed: " not in text  # no column is smoothed
    assert "\nRBDC: " not in text


def test_one_video_is_one_video(scored):
    one = dataclasses.replace(
        scored,
        names=scored.names[:1],
        labels=scored.labels[:1],
        scores={name: videos[:1] for name, videos in scored.scores.items()},
        parts={},
        results={},
    )
    text = table(summarise(one, **FEW))
    assert text.startswith("1 video, 36 of 40 frames scored")
    assert "1 videos" not in text
    assert "means over the frames" not in text  # of no part
    assert "above the best" not in text


def test_many_videos_of_one_class_are_counted_not_listed(scored):
    names = tuple(f"video {n:03d}" for n in range(40))
    labels = [np.zeros(9, np.int8)] * 38 + [np.arange(9).astype(np.int8) // 5] * 2
    many = dataclasses.replace(
        scored,
        names=names,
        labels=labels,
        scores=dict.fromkeys(SCORES, [np.arange(9.0)] * 40),
        parts={},
        results={},
    )
    text = " ".join(table(summarise(many, **FEW)).split())
    assert "one class: video 000, video 001, video 002, video 003, video 004 and 33 more" in text

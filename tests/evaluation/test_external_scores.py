"""Scores from anywhere, in each of their forms."""

import unicodedata

import numpy as np
import pytest

from vad_jax.evaluation import auc_micro, read_external, write_scores
from vad_jax.types import DataError

NAMES = ("01", "02", "street/03", "04")


@pytest.fixture
def labels(tmp_path, scored):
    np.save(tmp_path / "labels.npy", np.concatenate(scored.labels))
    return tmp_path / "labels.npy"


@pytest.fixture
def values(scored):
    return scored.scores["online_raw"]


def joined(path, values, **more):
    offsets = np.cumsum([0, *map(len, values)])
    np.savez(path, score=np.concatenate(values), offsets=offsets, **more)
    return path


def test_one_array_with_offsets(tmp_path, values, labels, scored):
    found = read_external(joined(tmp_path / "a.npz", values, video_names=np.array(NAMES)), labels)
    assert found.names == NAMES
    assert auc_micro(found.labels, found.scores["online_raw"]) == auc_micro(scored.labels, values)
    for video in found.scores["paper_raw"]:
        assert (np.nanmin(video), np.nanmax(video)) == (0, 1)


def test_one_array_a_video(tmp_path, values, labels):
    np.savez(tmp_path / "a.npz", **dict(zip(NAMES, values, strict=True)))
    found = read_external(tmp_path / "a.npz", labels, names=NAMES)
    assert found.names == NAMES
    for mine, theirs in zip(found.scores["online_smoothed"], values, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def numbered(count=12):
    """Labels and perfect scores of videos 1 to 12, each with an event of its own length."""
    labels = {str(n): (np.arange(20 + n) >= 10).astype(np.int8) for n in range(1, count + 1)}
    random = np.random.default_rng(0)
    return labels, {n: own + 0.1 * random.random(len(own)) for n, own in labels.items()}


def test_arrays_named_by_numbers_are_in_natural_order_whatever_theirs_in_the_file(tmp_path):
    truth, perfect = numbered()
    np.save(tmp_path / "labels.npy", np.concatenate(list(truth.values())))
    for order in (sorted(perfect), list(perfect)[::-1]):
        np.savez(tmp_path / "a.npz", **{name: perfect[name] for name in order})
        found = read_external(tmp_path / "a.npz", tmp_path / "labels.npy")
        assert found.names == tuple(truth)
        assert auc_micro(found.labels, found.scores["online_raw"]) == 1


def test_labels_with_names_go_by_name(tmp_path):
    truth, perfect = numbered()
    (tmp_path / "labels").mkdir()
    for name, own in truth.items():
        np.save(tmp_path / "labels" / f"{name}.npy", own)
    order = sorted(perfect)
    path = joined(tmp_path / "a.npz", [perfect[n] for n in order], video_names=np.array(order))
    found = read_external(path, tmp_path / "labels")
    assert auc_micro(found.labels, found.scores["online_raw"]) == 1


def test_names_in_the_file_are_met_with_those_of_the_test_set(tmp_path):
    truth, perfect = numbered()
    np.save(tmp_path / "labels.npy", np.concatenate(list(truth.values())))
    order = sorted(perfect)
    path = joined(tmp_path / "a.npz", [perfect[n] for n in order], video_names=np.array(order))
    found = read_external(path, tmp_path / "labels.npy", names=list(truth))
    assert found.names == tuple(truth)
    assert auc_micro(found.labels, found.scores["online_raw"]) == 1
    with pytest.raises(DataError, match=r"no scores of \['13'\] and .*not have: \['12'\]"):
        read_external(path, tmp_path / "labels.npy", names=[*list(truth)[:-1], "13"])


def test_accents_may_be_written_in_either_way(tmp_path):
    scores = {"cafe\u0301": np.arange(9.0)}
    np.savez(tmp_path / "a.npz", **scores)
    np.save(tmp_path / "labels.npy", np.arange(9) // 5)
    found = read_external(tmp_path / "a.npz", tmp_path / "labels.npy", names=["caf\u00e9"])
    assert found.names == ("caf\u00e9",)


def test_scores_that_fall_where_it_is_strange_are_turned(tmp_path, values, labels, scored):
    falling = joined(tmp_path / "a.npz", [30 - video for video in values])
    found = read_external(falling, labels, lower_is_stranger=True)
    for protocol in ("paper", "online"):
        key = f"{protocol}_raw"
        straight = read_external(joined(tmp_path / "b.npz", values), labels).scores[key]
        assert auc_micro(scored.labels, found.scores[key]) == pytest.approx(
            auc_micro(scored.labels, straight), abs=1e-12
        )


def test_a_file_of_ours_is_taken_as_it_is(tmp_path, scored):
    write_scores(tmp_path / "scores.npz", scored)
    found = read_external(tmp_path / "scores.npz")
    assert found.names == scored.names
    np.testing.assert_array_equal(found.labels[1], scored.labels[1])
    with pytest.raises(DataError, match="higher is stranger there already"):
        read_external(tmp_path / "scores.npz", lower_is_stranger=True)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "nothing in it is no scores"),
        ({"score": np.zeros(140)}, "`score` but no `offsets`"),
        ({"score": np.zeros(140), "offsets": np.array([0, 40])}, "offsets from 0 to N"),
        ({"score": np.zeros(9), "offsets": np.array([0, 6, 3, 9])}, "that rise from 0 to N"),
        ({"score": np.zeros(9), "offsets": np.array([0.0, 9.0])}, "expected whole numbers"),
        ({"score": np.zeros(9), "offsets": np.zeros(0, int)}, "expected whole numbers"),
        ({"score": np.zeros((70, 2)), "offsets": np.array([0, 140])}, r"float64 \[70, 2\]"),
        ({"01": np.array(["a"])}, "01 in it is no scores"),
        (dict.fromkeys(NAMES, np.array([np.inf])), "video 01 has an infinite score"),
        ({"01": np.zeros(3)}, r"no scores of \['02', '04', 'street/03'\]"),
        ({"score": np.array([{}], object), "offsets": np.array([0, 1])}, "no archive of plain"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, labels, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=said):
        read_external(tmp_path / "a.npz", labels, names=NAMES)


def test_missing_labels_and_files_are_named(tmp_path, values, labels):
    with pytest.raises(DataError, match="holds no labels: name their file"):
        read_external(joined(tmp_path / "a.npz", values))
    with pytest.raises(DataError, match="There is no file"):
        read_external(tmp_path / "b.npz", labels)
    with pytest.raises(DataError, match=r"expected an \.npz file"):
        read_external(labels)


def test_a_name_of_two_videos_is_refused(tmp_path, values, labels):
    names = np.array(["01", "02", "02", "04"])
    with pytest.raises(DataError, match="names a video twice"):
        read_external(joined(tmp_path / "a.npz", values, video_names=names), labels)


def test_times_in_labels_need_the_frame_rate(tmp_path, values):
    (tmp_path / "labels.csv").write_text("video,start,end\n01,0.5s,1.5s\n")
    path = joined(tmp_path / "a.npz", values, video_names=np.array(NAMES))
    found = read_external(path, tmp_path / "labels.csv", fps=10.0)
    np.testing.assert_array_equal(np.flatnonzero(found.labels[0]), np.arange(5, 15))
    with pytest.raises(DataError, match="01 has no frame rate"):
        read_external(path, tmp_path / "labels.csv")


def test_labels_of_other_lengths_are_refused(tmp_path, values, labels):
    with pytest.raises(DataError, match="139"):
        read_external(joined(tmp_path / "a.npz", [*values[:-1], values[-1][:-1]]), labels)


def test_two_ways_to_write_one_name_are_two_videos_of_it(tmp_path):
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    np.savez(tmp_path / "s.npz", **{composed: np.arange(3.0), apart: np.arange(4.0)})
    np.save(tmp_path / "l.npy", np.zeros(3, np.uint8))
    with pytest.raises(DataError, match="names a video twice"):
        read_external(tmp_path / "s.npz", tmp_path / "l.npy")

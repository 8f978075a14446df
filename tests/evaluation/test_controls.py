"""Simple controls: their rules on small frames, their published table on Ped2."""

import numpy as np
import pytest

from vad_jax.data.grey import grey_frames
from vad_jax.datasets import open_dataset
from vad_jax.evaluation import (
    MeanFrame,
    PixelControls,
    all_controls,
    auc_macro,
    auc_macro_padded,
    auc_micro,
    best_control,
    control_table,
    controls,
    index_controls,
    mean_of,
    minmax,
    read_labels,
    smooth,
)
from vad_jax.types import DataError

PED2 = {  # micro, min–max, strict macro, padded: × 100
    "constant": (50.00, 50.00, 50.00, 68.52),
    "frame index": (74.15, 74.95, 62.50, 77.58),
    "position": (74.95, 74.95, 62.50, 77.58),
    "mean intensity": (24.38, 13.50, 11.52, 44.49),
    "mean absolute difference": (72.76, 83.27, 89.25, 93.08),
    "mean squared difference": (79.50, 91.05, 91.48, 94.50),
    "distance to mean": (66.09, 85.62, 88.47, 92.67),
    "video number": (60.18, 50.00, 50.00, 68.52),
}
JPEG = 0.1  # frames are JPEG: decoder builds may differ by one grey level


@pytest.fixture
def frames():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (length, 6, 5), dtype=np.uint8) for length in (7, 5, 9)]


@pytest.fixture
def labels(frames):
    return [np.arange(len(video)) % 3 == 0 for video in frames]


def watched(observer, video, name="01"):
    """What an observer says of a video whose frames come one by one in the same array."""
    watch, place = observer.start(name), None
    for frame in video:
        place = np.empty_like(frame) if place is None or place.shape != frame.shape else place
        place[:] = frame
        watch.push(place)
    return watch.result()


def test_controls_follow_their_rules(frames):
    mean = np.full((6, 5), 100.0)
    found, video = controls(frames, mean), frames[1].astype(np.float64)
    np.testing.assert_allclose(found["mean intensity"][1], video.mean(axis=(1, 2)))
    change = np.abs(np.diff(video, axis=0))
    np.testing.assert_allclose(found["mean absolute difference"][1][1:], change.mean(axis=(1, 2)))
    np.testing.assert_allclose(
        found["mean squared difference"][1][1:], np.square(change).mean(axis=(1, 2))
    )
    np.testing.assert_allclose(found["distance to mean"][1], np.abs(video - 100).mean(axis=(1, 2)))
    np.testing.assert_array_equal(found["frame index"][1], range(5))
    np.testing.assert_array_equal(found["position"][1], np.arange(5) / 4)
    np.testing.assert_array_equal(found["video number"][1], [1] * 5)
    np.testing.assert_array_equal(
        np.concatenate(found["random"]), np.random.default_rng(0).random(21)
    )


def test_frames_that_are_pushed_give_the_same_controls(frames):
    mean = np.full((6, 5), 100.0)
    whole = controls(frames, mean)
    seen = [watched(PixelControls(mean), video) for video in frames]
    found = all_controls([len(video) for video in frames], seen)
    assert found.keys() == whole.keys()
    for name in whole:
        np.testing.assert_array_equal(np.concatenate(found[name]), np.concatenate(whole[name]))


def test_mean_of_another_size_gives_no_distance(frames):
    assert "distance to mean" not in controls(frames, np.zeros((3, 3)))
    seen = [watched(PixelControls(np.zeros(size)), frames[0]) for size in ((6, 5), (3, 3))]
    assert "distance to mean" in seen[0]
    assert "distance to mean" not in all_controls([len(frames[0])] * 2, seen)


def test_controls_of_other_lengths_than_their_videos_are_refused(frames):
    seen = [watched(PixelControls(), frames[0])]
    with pytest.raises(DataError, match=r"Video 0 .* has 9 frames, but controls of .*: 7"):
        all_controls([9], seen)


def test_mean_frame_is_the_mean_of_all_frames_that_count(frames):
    sums = [watched(MeanFrame(), video) for video in frames]
    np.testing.assert_allclose(mean_of(sums), np.concatenate(frames).mean(axis=0), rtol=1e-15)
    one_gone = MeanFrame({"b": [0, 2]})
    sums = [watched(one_gone, video, name) for name, video in zip("abc", frames, strict=True)]
    kept = [frames[0], np.delete(frames[1], [0, 2], axis=0), frames[2]]
    np.testing.assert_allclose(mean_of(sums), np.concatenate(kept).mean(axis=0), rtol=1e-15)


def test_frames_of_several_sizes_have_no_mean(frames):
    small = [np.zeros((3, 3), np.uint8)]
    assert mean_of([watched(MeanFrame(), video) for video in (frames[0], small)]) is None
    assert mean_of([watched(MeanFrame(), [*frames[0], *small])]) is None
    assert mean_of([watched(MeanFrame(), [])]) is None
    assert mean_of([]) is None
    sums = [watched(MeanFrame(), video) for video in (frames[0], [])]  # nothing read, no objection
    np.testing.assert_allclose(mean_of(sums), frames[0].mean(axis=0))


def test_keys_tell_apart_what_gives_other_results():
    means = [None, np.zeros((2, 3)), np.zeros((3, 2)), np.full((2, 3), 1e-9)]
    gone = [{}, {"a": [1]}, {"a": [2]}, {"b": [1]}, {"a": [1], "b": [1]}]
    keys = [PixelControls(mean).key for mean in means] + [MeanFrame(each).key for each in gone]
    assert len(set(keys)) == len(keys)
    assert PixelControls(np.zeros((2, 3))).key == keys[1]
    assert MeanFrame({"a": {2}}).key == MeanFrame({"a": (2,), "b": ()}).key == keys[6]


def test_first_frame_takes_the_difference_of_the_second(frames):
    for name in ("mean absolute difference", "mean squared difference"):
        for video in controls(frames)[name]:
            assert video[0] == video[1]


def test_frames_may_stream(frames):
    stream, whole = controls(iter(map(iter, frames))), controls(frames)
    for name in whole:
        np.testing.assert_array_equal(np.concatenate(stream[name]), np.concatenate(whole[name]))


def test_video_of_one_frame_has_every_control(frames):
    found = controls([frames[0][:1]])
    assert all(np.isfinite(video[0]).all() for video in found.values())


def test_each_control_takes_its_better_direction(labels):
    labels = 3 * labels  # enough for intervals
    lengths = [len(video) for video in labels]
    given = index_controls(lengths)
    turned = {name: [-video for video in videos] for name, videos in given.items()}
    scores = [np.zeros(length) for length in lengths]
    table = control_table(given, labels, scores, protocol="online", replicates=50)
    other = control_table(turned, labels, scores, protocol="online", replicates=50)
    for name, row in table.items():
        assert row["value"] >= 0.5
        assert other[name]["value"] == pytest.approx(row["value"])
        assert other[name]["low"] == pytest.approx(row["low"])
        assert (row["low"] is None) == (name == "constant")
        assert row["low"] is None or row["low"] <= row["value"] <= row["high"]


def test_controls_count_only_frames_that_the_method_scores(frames, labels):
    scores = [np.where(np.arange(len(video)) < 4, np.nan, 0.0) for video in frames]
    dropped = [video[4:] for video in labels]
    own = controls(frames)["mean intensity"]
    found = control_table({"c": own}, labels, scores, protocol="paper", replicates=5)
    value = auc_micro(dropped, [minmax(video[4:]) for video in own])
    assert found["c"]["value"] == pytest.approx(max(value, 1 - value))


def test_controls_are_smoothed_as_the_method_is(frames, labels):
    own = controls(frames)["mean intensity"]

    def mean_of_three(video):
        return smooth(video, [1 / 3] * 3, edges="nearest", causal=False)

    scores = [np.zeros(len(video)) for video in labels]
    found = control_table(
        {"c": own}, labels, scores, protocol="online", smoothing=mean_of_three, replicates=5
    )
    value = auc_micro(labels, [mean_of_three(video) for video in own])
    assert found["c"]["value"] == pytest.approx(max(value, 1 - value))


def test_best_control_is_none_where_labels_are_of_one_class(labels):
    ones = [np.ones(len(video), int) for video in labels]
    given = index_controls([len(video) for video in labels])
    assert best_control(control_table(given, ones, ones, protocol="paper", replicates=5)) is None


RANDOM = (52.13, 48.98, 51.79, 49.56, 47.60, 52.16, 52.50, 51.29, 49.63, 50.43)
WITHOUT_FIRST_FOUR = {  # 1,962 frames: micro, min–max
    "frame index": (73.94, 74.65),
    "position": (74.80, 74.65),  # min–max makes it the index
    "mean absolute difference": (73.64, 84.98),
    "mean squared difference": (79.79, 91.39),
    "mean intensity": (100 - 75.87, 100 - 86.06),
}


@pytest.fixture(scope="module")
def ped2(ped2_root):
    """Labels and controls of all 2,010 test frames, as `evaluate` makes them."""
    dataset = open_dataset("ucsd_ped2", ped2_root)
    frames = [grey_frames(source) for source in dataset.testing]
    sums = [watched(MeanFrame(), grey_frames(source)) for source in dataset.training]
    found = controls(frames, mean_of(sums))
    names = [source.name for source in dataset.testing]
    lengths = dict(zip(names, map(len, found["constant"]), strict=True))
    assert sum(lengths.values()) == 2010
    return list(read_labels(dataset.labels, lengths).values.values()), found


@pytest.mark.parametrize("name", PED2)
def test_table_of_ped2(ped2, name):
    labels, found = ped2
    own = found[name]
    values = (
        auc_micro(labels, own),
        auc_micro(labels, [minmax(video) for video in own]),
        auc_macro(labels, own).value,
        auc_macro_padded(labels, own).value,
    )
    np.testing.assert_allclose(100 * np.array(values), PED2[name], rtol=0, atol=JPEG)
    turned = [-video for video in own]
    reversed_ = (auc_micro(labels, turned), auc_macro(labels, turned).value)
    np.testing.assert_allclose(reversed_, (1 - values[0], 1 - values[2]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", WITHOUT_FIRST_FOUR)
def test_table_of_ped2_without_the_first_four_frames(ped2, name):
    labels, found = ped2
    own = [np.append([np.nan] * 4, video[4:]) for video in found[name]]
    values = auc_micro(labels, own), auc_micro(labels, [minmax(video) for video in own])
    np.testing.assert_allclose(100 * np.array(values), WITHOUT_FIRST_FOUR[name], rtol=0, atol=JPEG)


@pytest.mark.parametrize("seed", range(10))
def test_random_scores_of_ped2(ped2, seed):
    labels, found = ped2
    ends = np.cumsum([len(video) for video in labels])[:-1]
    scores = np.split(np.random.default_rng(seed).random(2010), ends)
    assert 100 * auc_micro(labels, scores) == pytest.approx(RANDOM[seed], abs=0.005)
    if seed == 0:
        assert auc_micro(labels, found["random"]) == auc_micro(labels, scores)


def test_smoothing_helps_the_squared_difference_of_ped2(ped2):
    labels, found = ped2
    own = [np.append([np.nan] * 4, video[4:]) for video in found["mean squared difference"]]
    kernel = np.exp(-((np.arange(15) - 7) ** 2) / 8) / (2 * np.sqrt(2 * np.pi))
    smoothed = [smooth(minmax(v), kernel, edges="nearest", causal=False) for v in own]
    assert 100 * auc_micro(labels, smoothed) == pytest.approx(93.01, abs=JPEG)

import csv
import hashlib
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vad_jax.datasets import open_dataset, synthetic
from vad_jax.datasets.synthetic import HELD_OUT, KINDS, TEST, TRAIN
from vad_jax.types import DataError

CUT = Path(__file__).parents[1] / "data" / "synthetic_cut.npz"


@pytest.fixture(scope="module")
def default():
    """The test videos of the default set."""
    return [synthetic.video(0, 0, TEST, index) for index in range(6)]


@pytest.fixture(scope="module")
def many():
    return [synthetic.video(0, 0, TEST, index) for index in range(40)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("data") / "synthetic")


def truth(video):
    return video.masks.any(axis=(1, 2))


def controls(videos):
    labels = np.concatenate([truth(v) for v in videos])
    length = len(videos[0].frames)
    rules = {
        "index": [np.arange(length)] * len(videos),
        "position": [np.arange(length) / (length - 1)] * len(videos),
        "intensity": [v.frames.mean(axis=(1, 2, 3)) for v in videos],
    }
    return {n: 100 * roc_auc_score(labels, np.concatenate(s)) for n, s in rules.items()}


def content(video):
    digest = hashlib.sha256()
    for array in (video.frames, video.masks, video.tracks):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def test_the_default_set_is_the_same_bytes(default):
    """To change the set on purpose, run this file as a script: it writes the cut and says the sum.

    NumPy keeps its random numbers within a version only; elsewhere one grey level is allowed.
    """
    with np.load(CUT, allow_pickle=False) as cut:
        if np.__version__ == str(cut["numpy"]):
            assert whole(default) == str(cut["sha256"])
        for index, position in cut["places"]:
            name = f"{index}_{position}"
            frame = default[index].frames[position].astype(int)
            assert np.abs(frame - cut[f"frame_{name}"]).max() <= 1
            np.testing.assert_array_equal(default[index].masks[position], cut[f"mask_{name}"])


def test_a_video_depends_on_its_own_numbers_alone():
    first = synthetic.video(0, 7, TEST, 3)
    synthetic.video(0, 8, TEST, 3)
    assert content(synthetic.video(0, 7, TEST, 3)) == content(first)
    others = [(1, 7, TEST, 3), (0, 8, TEST, 3), (0, 7, TRAIN, 3), (0, 7, TEST, 4)]
    assert content(first) not in {content(synthetic.video(*numbers)) for numbers in others}


def test_normal_videos_have_no_truth():
    for split in (TRAIN, HELD_OUT):
        video = synthetic.video(0, 0, split, 0)
        assert not video.masks.any()
        assert (video.tracks.shape, video.kinds) == ((0, 6), ())


def test_the_default_set_shows_every_kind_and_normal_frames_in_every_video(default):
    assert {kind for video in default for kind in video.kinds} == set(KINDS)
    for video in default:
        assert 20 <= truth(video).sum() <= 100


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_seen_for_twenty_frames_in_any_scene(kind):
    for scene in range(8):
        video = synthetic.video(0, scene, TEST, 0, frames=80, kinds=(kind,))
        assert 15 <= truth(video).sum() < 80, scene
        ((start, end, name),) = synthetic.runs(video)
        assert (name, end - start) == (kind, truth(video).sum())


def test_boxes_are_the_inclusive_bounds_of_the_masks(default):
    for video in default:
        for _, frame, *box in video.tracks:
            rows, columns = np.nonzero(video.masks[frame])
            assert box == [columns.min(), rows.min(), columns.max(), rows.max()]
        np.testing.assert_array_equal(np.unique(video.tracks[:, 1]), np.flatnonzero(truth(video)))


def test_anomalies_of_one_video_do_not_overlap_in_time(many):
    for video in many:
        spans = synthetic.runs(video)
        assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_anomalies_stand_out_by_contrast_and_stop_stands_still():
    video = synthetic.video(0, 0, TEST, 4, kinds=("stop",))
    assert len(np.unique(video.tracks[:, 2:], axis=0)) == 1
    inside = video.frames[video.masks].astype(float)
    ground = video.frames[~truth(video)].mean(axis=0)[video.masks[truth(video)][0]]
    assert abs(inside.mean() - ground.mean()) > 25


def test_fast_is_three_times_as_fast():
    def speed(kind):
        boxes = synthetic.video(0, 3, TEST, 1, kinds=(kind,)).tracks[:, 2:]
        whole = (boxes.min(axis=1) > 0) & (boxes.max(axis=1) < 63)
        middles = (boxes[whole, :2] + boxes[whole, 2:]) / 2
        return np.linalg.norm(middles[-1] - middles[0]) / (whole.sum() - 1)

    lanes = synthetic.make_scene(0, 3, height=64, width=64, channels=1).speeds
    assert any(speed("fast") == pytest.approx(3 * abs(s) / 256, rel=0.05) for s in lanes)
    assert any(speed("shape") == pytest.approx(abs(s) / 256, rel=0.05) for s in lanes)


def test_controls_say_little_about_the_default_set(default):
    for name, auc in controls(default).items():
        assert auc == pytest.approx(50, abs=15), name


def test_controls_say_nothing_about_many_videos(many):
    for name, auc in controls(many).items():
        assert auc == pytest.approx(50, abs=5), name


def test_size_and_colour_are_options():
    video = synthetic.video(
        0, 1, TEST, 2, frames=60, height=96, width=128, channels=3, kinds=("big",)
    )
    assert video.frames.shape == (60, 96, 128, 3)
    assert (video.frames[..., 0] != video.frames[..., 2]).any()
    assert truth(video).any()


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(DataError, match=r"'fly'.*zigzag"):
        synthetic.video(0, 0, TEST, 0, kinds=("fly",))


def test_the_written_set_is_a_generic_folder(written, default):
    dataset = open_dataset("synthetic", written)
    assert [s.name for s in dataset.training] == ["01", "02", "03", "04", "05"]
    assert [s.name for s in dataset.testing] == ["01", "02", "03", "04", "05", "06"]
    assert (dataset.labels, dataset.masks) == (written / "labels.csv", written / "masks")
    assert dataset.notes == ()
    for source, video in zip(dataset.testing, default, strict=True):
        frames = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in source.images]
        np.testing.assert_array_equal(frames, video.frames[..., 0])


def test_written_labels_masks_and_tracks_agree(written, default):
    rows = list(csv.DictReader((written / "labels.csv").open()))
    for number, video in enumerate(default, start=1):
        name = f"{number:02d}"
        labels = np.zeros(120, bool)
        for row in rows:
            if row["video"] == name:
                assert row["class"] in video.kinds
                labels[int(row["start"]) : int(row["end"])] = True
        np.testing.assert_array_equal(labels, truth(video))
        for position in (0, 60, 119):
            mask = cv2.imread(str(written / "masks" / name / f"{position:03d}.png"), 0)
            np.testing.assert_array_equal(mask, video.masks[position] * np.uint8(255))
        tracks = np.loadtxt(written / "tracks" / f"{name}.txt", delimiter=",", dtype=int)
        np.testing.assert_array_equal(tracks, video.tracks)


def test_the_held_out_video_is_the_last_of_training(written):
    first = cv2.imread(str(written / "training" / "frames" / "05" / "000.png"), 0)
    np.testing.assert_array_equal(first, synthetic.video(0, 0, HELD_OUT, 0).frames[0, ..., 0])


def test_a_folder_that_does_not_exist_is_written_first(tmp_path):
    assert len(open_dataset("synthetic", tmp_path / "new").testing) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_nothing_is_written_over(written):
    with pytest.raises(DataError, match="exists"):
        synthetic.write(written)


def test_scenes_have_two_normal_and_two_test_videos_each():
    rows = synthetic.plan("scenes")
    assert len(rows) == (64 + 16 + 60) * 4
    assert len({(row.part, row.name) for row in rows}) == len(rows)
    with pytest.raises(DataError, match="quickstart and scenes"):
        synthetic.plan("hours")


def test_the_quickstart_has_enough_test_videos_to_say_something():
    """Six turns of the kinds of anomaly, each video with normal frames, too; trained as the small
    set is."""
    rows, small = synthetic.plan("camera"), synthetic.plan("quickstart")
    tests = [row for row in rows if row.part == "testing"]
    assert len(tests) == 36
    assert set(small) < set(rows)
    assert {row for row in rows if row.part == "training"} <= set(small)
    shown = [synthetic.video(0, row.scene, row.split, row.index) for row in tests]
    assert all(0 < truth(video).mean() < 1 for video in shown)
    kinds = [kind for video in shown for kind in video.kinds]
    assert {kind: kinds.count(kind) for kind in KINDS} == dict.fromkeys(KINDS, 6)


def test_scenes_that_are_missing_are_said(tmp_path):
    rows = [r for r in synthetic.plan("scenes") if r.scene < 120]  # an older release's
    for row in rows:
        folder = tmp_path / row.part / "frames" / row.name
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "000.png"), np.zeros((4, 4), np.uint8))
    held_out = open_dataset("synthetic_scenes_held_out", tmp_path)
    assert [len(held_out.training), len(held_out.testing)] == [160, 32]
    said = r"lacks 80 of the 280 videos of scenes \(the first is testing/120_01\)"
    with pytest.raises(DataError, match=said):
        open_dataset("synthetic_scenes", tmp_path)
    (tmp_path / "testing" / "frames" / "064_02").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"lacks 1 of the 192 .*testing/064_02"):
        open_dataset("synthetic_scenes_held_out", tmp_path)


def test_a_folder_of_other_videos_holds_no_scenes_and_is_not_to_be_deleted(written):
    with pytest.raises(DataError, match="holds no scenes: name a folder that is not there") as said:
        open_dataset("synthetic_scenes", written)
    assert "Delete" not in str(said.value)


def whole(videos):
    return hashlib.sha256("".join(map(content, videos)).encode()).hexdigest()


if __name__ == "__main__":
    videos = [synthetic.video(0, 0, TEST, index) for index in range(6)]
    places = [(i, int(np.flatnonzero(truth(v))[10])) for i, v in enumerate(videos)]
    cut = {f"frame_{i}_{t}": videos[i].frames[t] for i, t in places}
    cut |= {f"mask_{i}_{t}": videos[i].masks[t] for i, t in places}
    np.savez_compressed(CUT, numpy=np.__version__, sha256=whole(videos), places=places, **cut)
    print(whole(videos), CUT.stat().st_size, "bytes")

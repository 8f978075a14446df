"""Built sets read back as if they were their raw folders."""

import itertools
import json
import os

import cv2
import numpy as np
import pytest
from support import films
from tensorflow_datasets.proto import tf_example_pb2

from vad_jax import config as configs
from vad_jax.data import frames as store
from vad_jax.datasets import open_dataset, splits
from vad_jax.datasets import prepared as built
from vad_jax.evaluation import read_labels, read_masks
from vad_jax.runs import examining, preparing
from vad_jax.types import DataError, InputSpec

SIZE = (20, 28)
LENGTHS = {"01": 130, "02": 9}  # of the test videos: the first is in two records
SPEC = InputSpec(
    frames=3, sees=(0, 1), target=2, scored=(2,), height=16, width=16, channels=3, colour="bgr"
)


@pytest.fixture
def raw(tmp_path):
    """A folder in UCSD Ped2's repacked layout, JPEG, with labels, masks and tracks."""
    root, labels = tmp_path / "ped2", []
    for part, lengths in (("training", {"01": 7, "02": 5}), ("testing", LENGTHS)):
        for name, length in lengths.items():
            (root / part / "frames" / name).mkdir(parents=True)
            shape = (length, *SIZE, 3)
            images = np.random.default_rng(len(name + part)).integers(0, 256, shape)
            for number, image in enumerate(images.astype(np.uint8)):
                cv2.imwrite(str(root / part / "frames" / name / f"{number:03d}.jpg"), image)
    (root / "tracks").mkdir()
    for name, length in LENGTHS.items():
        truth = np.arange(length) % 5 == 0
        labels.append(truth)
        (root / "testing" / "masks" / name).mkdir(parents=True)
        for number, anomalous in enumerate(truth):
            mask = np.zeros(SIZE, np.uint8)
            mask[3:6, number % 20] = 255 * anomalous
            cv2.imwrite(str(root / "testing" / "masks" / name / f"{number:03d}.png"), mask)
        rows = [f"{i},{frame},1,2,3,4" for i, frame in enumerate(np.flatnonzero(truth))]
        (root / "tracks" / f"{name}.txt").write_text("\n".join(rows))
    np.save(root / "frame_labels_ped2.npy", np.concatenate(labels).astype(np.uint8))
    return root


@pytest.fixture
def build(tmp_path):
    """Builds a raw folder, whatever is published of it; returns the built folder."""

    def build(root, name="ucsd_ped2", size="original", **options):
        how = {"on_bad_frame": options.get("on_bad_frame", "error"), "progress": False}
        found = examining.examine(open_dataset(name, root), None, **how)
        return preparing.build(found, tmp_path / "built", size=size, **how)

    return build


@pytest.fixture
def opened(tmp_path):
    """Opens a built folder."""

    def opened(root, name="ucsd_ped2", **options):
        return open_dataset(name, root, cache=tmp_path / "cache", **options)

    return opened


def settings_of(root, tmp_path, **changes):
    settings = configs.defaults("mnad").data
    changes = {"name": "ucsd_ped2", "root": str(root), "cache": str(tmp_path / "cache"), **changes}
    settings.update(changes)
    return settings


@pytest.fixture
def videos(tmp_path):
    """Training, held-out and test videos, decoded as a run does."""

    def videos(root, **changes):
        settings = settings_of(root, tmp_path, **changes)
        dataset = splits.find(settings)
        training, held_out = splits.training(dataset, settings, SPEC)
        return [training, held_out, splits.testing(dataset, settings, SPEC)]

    return videos


def test_a_run_sees_the_same_bytes_as_from_the_raw_folder(raw, build, videos):
    for ours, theirs in zip(
        videos(build(raw), validation=("02",)), videos(raw, validation=("02",)), strict=True
    ):
        assert [video.name for video in ours] == [video.name for video in theirs]
        assert store.identity(ours) == store.identity(theirs)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one.array, other.array)


def test_labels_masks_and_tracks_are_those_of_the_raw_folder(raw, build, opened):
    dataset, other = opened(build(raw)), open_dataset("ucsd_ped2", raw)
    assert (dataset.name, dataset.layout, dataset.fps) == ("ucsd_ped2", "repacked", 10.0)
    ours, theirs = (read_labels(d.labels, LENGTHS) for d in (dataset, other))
    assert ours.digest == theirs.digest
    assert dataset.labels.name == "frame_labels_ped2.npy (built)"
    for name, length in LENGTHS.items():
        masks = [list(read_masks(d.masks, name, length)) for d in (dataset, other)]
        np.testing.assert_array_equal(*masks)
        text = (dataset.root / "tracks" / f"{name}.txt").read_text()
        assert text.strip() == (raw / "tracks" / f"{name}.txt").read_text()
    found = [examining.examine(d, None, progress=False) for d in (dataset, other)]
    assert found[0].digest == found[1].digest
    assert found[0].right


def test_resized_frames_are_those_of_the_raw_folder_and_have_no_masks(raw, build, tmp_path, opened):
    dataset = opened(build(raw, size="64"))
    assert dataset.masks is None
    assert dataset.notes[-1].startswith("config 64: frames are resized, masks and tracks")
    how = {"height": 64, "width": 64, "channels": 3, "colour": "bgr", "cache": tmp_path / "cache"}
    sources = dataset.testing, open_dataset("ucsd_ped2", raw).testing
    for one, other in zip(*(store.decode(s, progress=False, **how) for s in sources), strict=True):
        np.testing.assert_array_equal(one.array, other.array)
    labels = read_labels(dataset.labels, LENGTHS).values
    assert labels["02"].tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0]
    assert not (dataset.root / "tracks").exists()


def test_frames_that_were_skipped_are_bad_frames_again(raw, build, videos):
    for part, number in (("training", 3), ("testing", 8)):
        (raw / part / "frames" / "02" / f"{number:03d}.jpg").write_bytes(b"")
    root = build(raw, on_bad_frame="skip")
    with pytest.raises(DataError, match=r"Video 02, frame 3: .*0 bytes"):
        videos(root)
    ours, theirs = videos(root, on_bad_frame="skip"), videos(raw, on_bad_frame="skip")
    assert [video.broken for part in ours for video in part] == [(), (3,), (), (8,)]
    for one, other in zip(*(itertools.chain(*parts) for parts in (ours, theirs)), strict=True):
        np.testing.assert_array_equal(one.array, other.array)


def test_the_synthetic_set_keeps_its_held_out_video_and_its_rate(synthetic_root, build, opened):
    dataset = opened(build(synthetic_root, "synthetic"), "synthetic")
    raw = open_dataset("synthetic", synthetic_root)
    assert [s.name for s in dataset.training] == [s.name for s in raw.training]
    assert [s.name for s in dataset.testing] == [s.name for s in raw.testing]
    assert dataset.fps == raw.fps


def test_the_training_videos_of_ucf_crime_keep_their_class(tmp_path, build, opened):
    root = tmp_path / "ucf"
    root.mkdir()
    parts = {"Train": ("Abuse001", "Normal_Videos001"), "Test": ("Arson011",)}
    for part, names in parts.items():
        for name in names:
            films.write(root / f"{name}_x264.avi", frames=4)
        lines = "\n".join(f"{name}_x264.avi" for name in names)
        (root / f"Anomaly_{part}.txt").write_text(lines)
    (root / "Temporal_Anomaly_Annotation.txt").write_text("Arson011_x264.avi Arson 2 3 -1 -1\n")
    dataset = opened(build(root, "ucf_crime"), "ucf_crime")
    assert dataset.anomalous == {"Abuse001_x264": "Abuse"}
    assert dataset.classes == open_dataset("ucf_crime", root).classes


def test_records_are_unpacked_once_until_they_change(raw, build, opened, tmp_path):
    root = build(raw)
    first = opened(root).root
    (first / "witness").touch()
    assert (opened(root).root / "witness").exists()
    (first / "order.json").write_text("{}")
    assert not (opened(root).root / "witness").exists()
    os.utime(root / built.INFO, (1, 1))
    assert opened(root).root != first
    assert [path for path in (tmp_path / "cache").iterdir() if "part" in path.name] == []


def test_without_labels_masks_are_not_taken_for_them(raw, build, opened):
    (raw / "frame_labels_ped2.npy").unlink()
    dataset = opened(build(raw))
    assert (dataset.labels, open_dataset("ucsd_ped2", raw).labels) == (None, None)
    assert dataset.masks.is_dir()


def test_a_user_may_give_other_labels(raw, build, opened, tmp_path):
    (tmp_path / "own.csv").write_text("video,start,end\n")
    assert opened(build(raw), labels=tmp_path / "own.csv").labels == tmp_path / "own.csv"


def test_another_set_is_named(raw, build, opened):
    with pytest.raises(DataError, match=r"holds vad_ucsd_ped2, built from ucsd_ped2, not avenue"):
        opened(build(raw), "avenue")


@pytest.mark.parametrize(
    ("file", "said"),
    [(built.INFO, "is no built set that can be read"), ("vad_ucsd_ped2-test", "split test")],
)
def test_what_is_damaged_is_named_and_leaves_nothing(raw, build, opened, tmp_path, file, said):
    root = build(raw)
    (path,) = root.glob(f"{file}*")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=said):
        opened(root)
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


def test_a_video_of_which_frames_are_missing_is_named(raw, build, opened):
    root = build(raw)
    about = json.loads((root / "metadata.json").read_text())
    (root / "metadata.json").write_text(json.dumps(about | {"skipped": {"test/02": [3]}}))
    with pytest.raises(DataError, match=r"video 02 has 9 frames in its records and 1 .*expected 9"):
        opened(root)


def test_a_video_that_comes_twice_is_named(raw, build, opened, monkeypatch):
    root, videos = build(raw), built._videos
    monkeypatch.setattr(built, "_videos", lambda *a: itertools.chain(videos(*a), videos(*a)))
    with pytest.raises(DataError, match="video 01 is in two places"):
        opened(root)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"video": b"../../etc"}, "which is no name"),
        ({"video": b"/etc/x"}, "which is no name"),
        ({"video": b""}, "which is no name"),
        ({"video": b"a//b"}, "which is no name"),
        ({"first_frame": -1}, "2 frames from -1 on, of a video of 2"),
        ({"first_frame": 1}, "2 frames from 1 on"),
        ({"video_frames": 10**12}, "of a video of 1000000000000"),
        ({"label": [1]}, "2 frames, 1 labels and 0 masks"),
        ({"mask": [b"1"]}, "2 frames, 0 labels and 1 masks"),
        ({"frames": []}, "0 frames from 0 on"),
    ],
)
def test_a_record_that_is_no_part_of_a_video_is_refused(changes, said):
    good = {"video": b"a/b", "first_frame": 0, "video_frames": 2, "fps": 1.0, "frames": [b"1"] * 2}
    example = tf_example_pb2.Example()
    for key, value in (good | changes).items():
        values = value if isinstance(value, list) else [value]
        feature = example.features.feature[key]
        kinds = {float: feature.float_list, int: feature.int64_list, bytes: feature.bytes_list}
        if values:
            kinds[type(values[0])].value.extend(values)
    with pytest.raises(ValueError, match=said):
        built._plain(example.features.feature)


def test_no_room_to_unpack_says_how_much(raw, build, small_disk):
    root = build(raw)
    (small_disk / "other").write_bytes(bytes(16_600_000))
    with pytest.raises(DataError, match=r"No room in .*about \d+ bytes are needed, \d+ are free"):
        open_dataset("ucsd_ped2", root, cache=small_disk)
    assert [path.name for path in small_disk.iterdir()] == ["other"]

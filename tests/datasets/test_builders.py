"""Built sets: what a record holds, that nothing of it is lost, and that a build goes on."""

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

import vad_jax.tfds
from vad_jax import prepare
from vad_jax.data import frames as store
from vad_jax.datasets import open_dataset
from vad_jax.datasets.build import builders, forms, records, staging
from vad_jax.runs import examining
from vad_jax.types import ConfigError, DataError

HEIGHT, WIDTH = 20, 28
LENGTHS = {"01": 130, "02": 9}  # of the test videos: the first needs two records


def write(folder, number, suffix, *, channels=3, seed=0, size=(HEIGHT, WIDTH)):
    folder.mkdir(parents=True)
    shape = (number, *size, channels)
    images = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    for position, image in enumerate(images):
        cv2.imwrite(str(folder / f"{position:03d}{suffix}"), image)
    return images


@pytest.fixture
def ped2(tmp_path):
    """A folder in the repacked layout of UCSD Ped2: JPEG, labels of all test frames, masks."""
    root = tmp_path / "ped2"
    write(root / "training" / "frames" / "01", 7, ".jpg", seed=1)
    labels = []
    for seed, (name, length) in enumerate(LENGTHS.items(), 2):
        write(root / "testing" / "frames" / name, length, ".jpg", seed=seed)
        truth = np.arange(length) % 5 == 0
        labels.append(truth)
        (root / "testing" / "masks" / name).mkdir(parents=True)
        for position, anomalous in enumerate(truth):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[3:6, position % 20] = 255 * anomalous
            cv2.imwrite(str(root / "testing" / "masks" / name / f"{position:03d}.png"), mask)
    np.save(root / "frame_labels_ped2.npy", np.concatenate(labels)[None].astype(np.int64))
    return root


def built(root, name, out, lengths, **options):
    """A raw folder built with the truth that lies in it."""
    dataset = open_dataset(name, root)
    known = vad_jax.tfds.known(dataset, lengths)
    given = {key: getattr(known, key) for key in ("labels", "masks", "tracks", "classes")}
    return builders.build(dataset, **given | {"out": out, "progress": False} | options)


@pytest.fixture
def build(tmp_path):
    """Builds a raw folder, by default one like `ped2`."""

    def build(root, name="ucsd_ped2", out=None, lengths=LENGTHS, **options):
        return built(root, name, out or tmp_path / "built", lengths, **options)

    return build


@pytest.fixture(scope="module")
def synthetic_built(synthetic_root, tmp_path_factory):
    """The synthetic set, built whole."""
    lengths = {f"{n:02d}": 120 for n in range(1, 7)}
    return built(synthetic_root, "synthetic", tmp_path_factory.mktemp("built"), lengths)


def by_video(source):
    """Video → its records."""
    found = {}
    for record in source:
        found.setdefault(record["video"].decode(), []).append(record)
    return found


def joined(chunks, key):
    return [value for chunk in chunks for value in chunk[key]]


def encoded(builder, key="frames", split="test"):
    """The pictures of each record as they are stored."""
    as_bytes = tfds.decode.DeserializeMethod.RAW_BYTES
    source = builder.as_data_source(split, deserialize_method=as_bytes)
    found = [tf_example_pb2.Example.FromString(record).features.feature for record in source]
    return [list(features[key].bytes_list.value) for features in found]


def test_records_are_chunks_in_order_of_video_and_first_frame(ped2, build):
    builder = build(ped2)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 1,
        "test": 3,
    }
    found = [
        (r["video"].decode(), r["video_index"], r["first_frame"], len(r["frames"]))
        for r in builder.as_data_source("test")
    ]
    assert found == [("01", 0, 0, 128), ("01", 0, 128, 2), ("02", 1, 0, 9)]
    record = builder.as_data_source("test")[1]
    assert (record["video_frames"], record["fps"]) == (130, 10.0)
    assert record["frames"][0].shape == (HEIGHT, WIDTH, 3)


def test_keys_are_the_video_and_its_first_frame(ped2, tmp_path):
    videos = staging.stage(
        open_dataset("ucsd_ped2", ped2).testing, tmp_path / "s", size=None, progress=False
    )
    examples = records.examples(records.chunks(videos), records.Known())
    assert [key for key, _ in examples] == ["01/0", "01/128", "02/0"]


def test_bytes_of_jpeg_files_are_kept(ped2, build):
    first, second, other = encoded(build(ped2))
    for name, found in (("01", first + second), ("02", other)):
        files = sorted((ped2 / "testing" / "frames" / name).iterdir())
        assert found == [file.read_bytes() for file in files]


@pytest.mark.parametrize(("config", "size"), [("64", 64), ("256", 256)])
def test_resized_frames_are_those_of_the_frame_store(ped2, build, tmp_path, config, size):
    source = build(ped2, config=config).as_data_source("test")
    decoded = store.decode(
        open_dataset("ucsd_ped2", ped2).testing,
        height=size,
        width=size,
        channels=3,
        colour="rgb",
        cache=tmp_path / "cache",
        progress=False,
    )
    chunks = by_video(source)
    for frames in decoded:
        expected = frames.read(np.arange(len(frames)))
        np.testing.assert_array_equal(joined(chunks[frames.name], "frames"), expected)


def test_grey_frames_are_grey_pictures_and_read_as_rgb(build, tmp_path):
    images = write(tmp_path / "raw" / "testing" / "a", 3, ".png", channels=1)
    builder = build(tmp_path / "raw", "folder", lengths={"a": 3})
    (record,) = builder.as_data_source("test")
    np.testing.assert_array_equal(record["frames"], np.repeat(images, 3, axis=-1))
    ((picture, *_),) = encoded(builder)
    assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED).ndim == 2


@pytest.mark.parametrize("suffix", [".tif", ".bmp", ".png"])
def test_other_pictures_become_png_without_loss(build, tmp_path, suffix):
    images = write(tmp_path / "raw" / "testing" / "a", 3, suffix)
    builder = build(tmp_path / "raw", "folder", lengths={"a": 3})
    (record,) = builder.as_data_source("test")
    np.testing.assert_array_equal(record["frames"], images[..., ::-1])
    (pictures,) = encoded(builder)
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize(("lossless", "start"), [(False, b"\xff\xd8"), (True, b"\x89PNG")])
def test_frames_of_films_become_jpeg_or_without_loss_png(build, tmp_path, lossless, start):
    film = tmp_path / "raw" / "testing" / "a.avi"
    film.parent.mkdir(parents=True)
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for number in range(4):
        writer.write(np.full((HEIGHT, WIDTH, 3), (40 * number, 90, 0), np.uint8))
    writer.release()
    builder = build(tmp_path / "raw", "folder", lengths={"a": 4}, lossless=lossless)
    (pictures,) = encoded(builder)
    assert all(picture.startswith(start) for picture in pictures)
    (record,) = builder.as_data_source("test")
    assert record["fps"] == 25
    capture = cv2.VideoCapture(str(film))
    raw = np.stack([capture.read()[1][..., ::-1] for _ in range(4)])
    atol = 0 if lossless else 4  # quality 95 of flat frames: rounding of colours
    np.testing.assert_allclose(np.stack(record["frames"]).astype(int), raw, atol=atol)


def test_labels_and_masks_come_back(ped2, build):
    builder = build(ped2, config="64")
    chunks = by_video(builder.as_data_source("test"))
    assert joined(chunks["01"], "label") == [int(n % 5 == 0) for n in range(130)]
    for name in LENGTHS:
        files = sorted((ped2 / "testing" / "masks" / name).iterdir())
        raw = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
        np.testing.assert_array_equal(np.array(joined(chunks[name], "mask"))[..., 0], raw)
    assert encoded(builder, "mask")[0][0][24] == 1  # bits a pixel
    train = builder.as_data_source("train")[0]
    assert (len(train["label"]), len(train["mask"]), train["class"]) == (0, 0, b"")


def test_tracks_and_classes_come_back(synthetic_root, synthetic_built):
    for record in synthetic_built.as_data_source("test"):
        name = record["video"].decode()
        rows = np.loadtxt(synthetic_root / "tracks" / f"{name}.txt", delimiter=",", ndmin=2)
        tracks = record["tracks"]
        found = np.column_stack([tracks["track"], tracks["frame"], np.array(tracks["box"])])
        np.testing.assert_array_equal(found, rows)
    assert synthetic_built.as_data_source("test")[0]["class"] == b"fast,appear"


def test_tracks_are_cut_with_their_frames(ped2, build):
    rows = np.array([[0, 127, 1, 2, 3, 4], [0, 128, 5, 6, 7, 8], [1, 128, 0, 0, 9, 9]])
    builder = build(ped2, tracks={"01": rows}.get)
    first, second, other = builder.as_data_source("test")
    assert list(first["tracks"]["frame"]) == [127]
    assert np.array(second["tracks"]["box"]).tolist() == [[5, 6, 7, 8], [0, 0, 9, 9]]
    assert len(other["tracks"]["frame"]) == 0


def test_the_synthetic_set_has_a_split_to_choose_by(synthetic_built):
    splits = synthetic_built.info.splits
    names = {k: [r["video"] for r in synthetic_built.as_data_source(k)] for k in splits}
    assert names["train"] == [b"01", b"02", b"03", b"04"]
    assert names["validation"] == [b"05"]
    assert len(names["test"]) == 6


def test_records_are_read_by_array_record_alone(ped2, build):
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    builder = build(ped2)
    files = sorted(Path(builder.data_dir).glob("*-test.array_record-*"))
    source = ArrayRecordDataSource([str(file) for file in files])
    assert len(source) == 3
    record = builder.info.features.deserialize_example_np(source[1])
    assert (record["video"], record["first_frame"], len(record["frames"])) == (b"01", 128, 2)


def test_the_hash_is_that_of_the_data_and_not_of_the_config(ped2, build, tmp_path):
    small, whole = (build(ped2, config=config) for config in ("64", "original"))
    assert small.info.metadata["sha256"] == whole.info.metadata["sha256"]
    other = build(ped2, out=tmp_path / "other", labels=lambda name: np.zeros(LENGTHS[name]))
    assert other.info.metadata["sha256"] != whole.info.metadata["sha256"]
    assert whole.info.metadata["size"] == [HEIGHT, WIDTH]
    assert whole.info.metadata["label_source"] == "frame_labels_ped2.npy"


def test_the_hash_is_the_one_that_a_check_prints(ped2, build):
    checked = examining.check("folder", ped2, progress=False)
    assert build(ped2, "folder", config="64").info.metadata["sha256"] == checked.digest


def spoil(path):
    """Other content under the same size and time."""
    about = path.stat()
    path.write_bytes(b"not a picture".ljust(about.st_size, b"\0"))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_an_interrupted_build_goes_on_without_encoding_finished_videos_again(
    ped2, build, tmp_path, monkeypatch
):
    monkeypatch.setattr(staging, "THREADS", 1)
    last = ped2 / "testing" / "frames" / "02" / "004.jpg"
    good = last.read_bytes()
    last.write_bytes(good[:100])
    folder = tmp_path / "built" / "vad_ucsd_ped2-original.staging"
    (folder / ".part-killed").mkdir(parents=True)
    with pytest.raises(DataError, match=r"02, frame 4.*cut off"):
        build(ped2)
    assert not list(folder.glob(".part-*"))
    assert len(list(folder.glob("*.zip"))) == 2
    last.write_bytes(good)
    finished = [*(ped2 / "training/frames/01").iterdir(), *(ped2 / "testing/frames/01").iterdir()]
    expected = [file.read_bytes() for file in sorted((ped2 / "testing/frames/01").iterdir())]
    for file in finished:
        spoil(file)
    first, second, _ = encoded(build(ped2))
    assert first + second == expected
    assert not folder.exists()


def test_a_frame_that_cannot_be_read_ends_a_record_and_its_truth_goes(ped2, build, tmp_path):
    bad = {"01": (0, 3, 129), "02": (4,)}
    good = encoded(build(ped2, out=tmp_path / "whole"))
    for name, positions in bad.items():
        for position in positions:
            (ped2 / "testing/frames" / name / f"{position:03d}.jpg").write_bytes(b"")
    rows = np.array([[0, 3, 1, 2, 3, 4], [0, 5, 5, 6, 7, 8]])
    options = {"tracks": {"01": rows}.get, "on_bad_frame": "skip"}
    builder = build(ped2, **options)
    records = by_video(builder.as_data_source("test"))
    spans = {
        name: [(r["first_frame"], len(r["frames"])) for r in of] for name, of in records.items()
    }
    assert spans == {"01": [(1, 2), (4, 125)], "02": [(0, 4), (5, 4)]}
    assert {r["video_frames"] for r in records["01"]} == {130}
    for name, of in records.items():
        for record in of:
            frames = range(record["first_frame"], record["first_frame"] + len(record["frames"]))
            assert record["label"] == [int(n % 5 == 0) for n in frames], name
            masks = np.array(record["mask"])
            assert masks.any((1, 2, 3)).tolist() == [n % 5 == 0 for n in frames]
            lit = {int(n): masks[n - frames[0], 3].argmax() for n in frames if n % 5 == 0}
            assert lit == {n: n % 20 for n in lit}, "a mask of another frame"
    assert [list(r["tracks"]["frame"]) for r in records["01"]] == [[], [5]]
    assert encoded(builder)[1] == (good[0] + good[1])[4:129]
    assert builder.info.metadata["skipped"] == {"test/01": [0, 3, 129], "test/02": [4]}


def test_a_bad_frame_is_an_error_unless_it_is_to_be_skipped(ped2, build, tmp_path):
    bad = ped2 / "training" / "frames" / "01" / "002.jpg"
    bad.write_bytes(b"")
    with pytest.raises(DataError, match=r"01, frame 2: .*0 bytes.*on_bad_frame=skip"):
        build(ped2)
    sources = open_dataset("ucsd_ped2", ped2).training
    how = {"size": None, "progress": False}
    (video,) = staging.stage(sources, tmp_path / "s", on_bad_frame="skip", **how)
    assert (video.frames, video.broken, video.runs) == (7, (2,), [(0, 2), (3, 7)])
    with pytest.raises(DataError, match=r"01, frame 2: .*on_bad_frame=skip"):
        staging.stage(sources, tmp_path / "s", **how)  # what was skipped before is not passed over


def test_a_video_without_a_readable_frame_is_never_skipped(ped2, build):
    for file in (ped2 / "training" / "frames" / "01").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"Video 01 has no frame that can be read: .*000\.jpg"):
        build(ped2, on_bad_frame="skip")


def test_masks_behind_a_bad_last_frame_are_counted(ped2, build):
    (ped2 / "testing" / "frames" / "02" / "008.jpg").write_bytes(b"")
    for number, said in ((8, "9 frames but 8 masks"), (10, "more masks than its 9 frames")):
        masks = {"02": np.zeros((number, HEIGHT, WIDTH), bool)}

        def given(name, masks=masks):
            return iter(masks[name]) if name in masks else None

        with pytest.raises(DataError, match=said):
            build(ped2, on_bad_frame="skip", masks=given)


def test_a_build_that_was_killed_while_copying_leaves_nothing(ped2, build, tmp_path):
    left = tmp_path / "built" / "vad_ucsd_ped2" / "64" / "incomplete.ABCDEF_1.0.0"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"records")
    builder = build(ped2, config="64")
    assert [path.name for path in left.parent.iterdir()] == ["1.0.0"]
    names = {path.name for path in (tmp_path / "built").iterdir()}
    assert names == {"vad_ucsd_ped2"}
    assert len(builder.as_data_source("test")) == 3


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Twelve videos of noise: enough to encode for somebody to come in between."""
    root = tmp_path_factory.mktemp("many") / "raw"
    for seed in range(12):
        write(root / "testing" / f"{seed:02d}", 20, ".png", seed=seed, size=(120, 160))
    return root


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_stopped_while_it_encodes_goes_on(many, tmp_path, number, capsys):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    house = os.environ | {"PYTHONPATH": str(Path(vad_jax.__file__).parents[1])}
    for attempt in range(5):  # on a busy machine the command may be done before this one looks
        out = tmp_path / f"built{attempt}"
        options = [f"--root={many}", f"--out={out}", "--data=folder"]
        command = [sys.executable, "-m", "vad_jax.prepare", *options]
        with subprocess.Popen(command, env=house, **pipes) as process:
            staged = out / "vad_folder-original.staging"
            while len(done := list(staged.glob("*.zip"))) < 2 and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(number)
            said = process.communicate(timeout=60)[1]
        if process.returncode != 0:
            break
    assert process.returncode == (-9 if number == signal.SIGKILL else 3)
    assert ("The same command goes on from what is saved" in said) == (number != signal.SIGKILL)
    assert all(path.exists() for path in done)
    assert prepare.main(options) == 0, capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["vad_folder"]
    source = tfds.builder_from_directory(out / "vad_folder/original/1.0.0").as_data_source("test")
    assert [r["video"].decode() for r in source] == [f"{seed:02d}" for seed in range(12)]
    raw = [cv2.imread(str(p))[..., ::-1] for p in sorted((many / "testing/07").iterdir())]
    np.testing.assert_array_equal(source[7]["frames"], raw)


def test_a_damaged_staged_file_is_made_again(ped2, tmp_path, caplog):
    sources = open_dataset("ucsd_ped2", ped2).training
    (video,) = staging.stage(sources, tmp_path / "s", size=None, progress=False)
    whole = video.path.read_bytes()
    video.path.write_bytes(whole[: len(whole) // 2])
    (video,) = staging.stage(sources, tmp_path / "s", size=None, progress=False)
    assert "damaged" in caplog.text
    assert zipfile.ZipFile(video.path).testzip() is None


def test_what_is_built_is_not_built_again(ped2, build):
    build(ped2, config="64")
    with pytest.raises(DataError, match="is built already"):
        build(ped2, config="64")


def test_two_builds_of_one_set_do_not_meet(ped2, build, tmp_path):
    folder = tmp_path / "built" / "vad_ucsd_ped2-64.staging"
    folder.mkdir(parents=True)
    with builders._alone(folder), pytest.raises(DataError, match="Another process builds"):
        build(ped2, config="64")


def test_another_config_names_those_there_are(ped2, build):
    with pytest.raises(ConfigError, match=r"no config '128'.*original, 256, 64\."):
        build(ped2, config="128")
    with pytest.raises(ConfigError, match="original_intervals"):
        build(ped2, config="original_intervals")


def no_masks_of_02(name):
    return None if name == "02" else iter(np.zeros((LENGTHS[name], HEIGHT, WIDTH), bool))


def test_a_video_may_lack_masks(ped2, build):
    chunks = by_video(build(ped2, config="64", masks=no_masks_of_02).as_data_source("test"))
    assert len(joined(chunks["01"], "mask")) == 130
    assert not joined(chunks["02"], "mask")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": {"01": np.zeros(130, int)}.get}, "02 has no labels, but 1 other"),
        ({"labels": lambda name: np.zeros(9, int)}, "01 has 130 frames but 9 labels"),
        ({"masks": lambda name: iter(np.zeros((9, HEIGHT, WIDTH)))}, "130 frames but 9 masks"),
        ({"masks": lambda name: iter(np.zeros((131, HEIGHT, WIDTH)))}, "more masks than its 130"),
        ({"masks": lambda name: iter(np.zeros((130, 5, 7)))}, "01, frame 0: its mask has 5x7"),
        ({"tracks": lambda name: np.array([[0, 9, 1, 1, 2, 2]])}, "02 has tracks in frames 9 to 9"),
    ],
)
def test_truth_that_does_not_fit_is_named(ped2, build, options, message):
    with pytest.raises(DataError, match=message):
        build(ped2, **options)


def test_videos_of_two_sizes_are_no_set(ped2, build):
    for file in (ped2 / "testing" / "frames" / "02").iterdir():
        cv2.imwrite(str(file), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"Video 02, frame 0: 8x8 pixels, but video 01 has 20x28"):
        build(ped2)


@pytest.fixture
def noise(tmp_path):
    """Two videos of 5.4 MB each as PNG."""
    for seed, name in enumerate(("a", "b")):
        (tmp_path / "noise" / "testing" / name).mkdir(parents=True)
        for position in range(6):
            image = np.random.default_rng((seed, position)).integers(0, 256, (480, 640, 3))
            file = tmp_path / "noise" / "testing" / name / f"{position}.bmp"
            cv2.imwrite(str(file), image.astype(np.uint8))
    return tmp_path / "noise"


def test_no_room_for_the_records_says_how_much_and_keeps_what_is_encoded(noise, build, small_disk):
    with pytest.raises(DataError, match=r"for the records: about \d+ bytes are needed, \d+ are"):
        build(noise, "folder", lengths={"a": 6, "b": 6}, out=small_disk)
    assert len(list(small_disk.glob("vad_folder-original.staging/*.zip"))) == 2


def test_no_room_for_a_video_says_how_much(noise, build, small_disk, monkeypatch):
    monkeypatch.setattr(staging, "THREADS", 1)
    (small_disk / "other").write_bytes(bytes(8 << 20))
    with pytest.raises(DataError, match=r"for b: about \d+ bytes .*\d+ are free.*kept") as error:
        build(noise, "folder", lengths={"a": 6, "b": 6}, out=small_disk)
    # 6 pictures of b and the records of both, 5.4 MB each; of the 16 MB all but 8 are taken
    needed = int(re.search(r"about (\d+) bytes", str(error.value))[1])
    assert 14e6 < needed < 20e6
    (small_disk / "other").unlink()
    assert len(list(small_disk.glob("vad_folder-original.staging/*.zip"))) == 1


def test_shards_hold_all_records_once_and_in_order(ped2, tmp_path):
    videos = staging.stage(
        open_dataset("ucsd_ped2", ped2).testing, tmp_path / "s", size=None, progress=False
    )
    chunks = records.chunks(videos)
    size = videos[0].path.stat().st_size
    groups = records.shards(chunks, bytes_each=size)
    assert [len(group) for group in groups] == [2, 1]
    assert [chunk for group in groups for chunk in group] == chunks
    assert records.shards(chunks, bytes_each=10**9) == [chunks]


def test_masks_are_the_same_in_a_shard_that_begins_within_a_video(ped2, build, monkeypatch):
    whole = encoded(build(ped2, config="64"), "mask")
    monkeypatch.setattr(builders, "SHARD_BYTES", 1000)
    builder = build(ped2)
    assert len(builder.info.splits["test"].shard_lengths) == 3
    assert encoded(builder, "mask") == whole


def raw_folder(root, **options):
    config = tfds.download.DownloadConfig(manual_dir=root)
    return {"download_and_prepare_kwargs": {"download_config": config}, **options}


def test_a_registered_set_finds_its_labels_by_itself(ped2, tmp_path):
    source = tfds.data_source(
        "vad_ucsd_ped2/64", split="test", data_dir=tmp_path / "built", **raw_folder(ped2)
    )
    assert joined(by_video(source)["02"], "label") == [1, 0, 0, 0, 0, 1, 0, 0, 0]
    again = tfds.data_source("vad_ucsd_ped2/64", split="test", data_dir=tmp_path / "built")
    assert len(again) == len(source)


def test_a_registered_set_leaves_out_bad_frames_where_it_is_told_to(ped2, tmp_path):
    (ped2 / "testing" / "frames" / "02" / "004.jpg").write_bytes(b"")
    options = raw_folder(ped2, split="test", data_dir=tmp_path / "built")
    with pytest.raises(DataError, match=r"02, frame 4: .*on_bad_frame=skip"):
        tfds.data_source("vad_ucsd_ped2/64", **options)
    how = {"on_bad_frame": "skip"}
    source = tfds.data_source("vad_ucsd_ped2/64", builder_kwargs=how, **options)
    assert [(r["first_frame"], len(r["label"])) for r in by_video(source)["02"]] == [(0, 4), (5, 4)]
    with pytest.raises(ConfigError, match="error or skip, not 'ignore'"):
        tfds.builder("vad_ucsd_ped2/64", on_bad_frame="ignore")


def test_all_sets_are_registered_and_say_what_their_folder_holds():
    for name in ("ucsd_ped1", "ucsd_ped2", "avenue", "shanghaitech", "ucf_crime", "folder"):
        builder = tfds.builder_cls(f"vad_{name}")
        assert "manual_dir" in builder.MANUAL_DOWNLOAD_INSTRUCTIONS
        intervals = name == "avenue"
        assert list(builder.builder_configs) == [c.name for c in forms.configs(intervals=intervals)]
    assert tfds.builder_cls("vad_synthetic").VERSION == "1.0.0"


def test_the_synthetic_set_needs_no_folder(tmp_path):
    source = tfds.data_source("vad_synthetic/64", split="test", data_dir=tmp_path)
    assert len(source) == 6
    assert [path.name for path in tmp_path.glob("*.staging")] == []


def test_tfds_load_reads_tfrecord(ped2, tmp_path):
    how = {"file_format": "tfrecord"}
    data = tfds.load(
        "vad_ucsd_ped2/64",
        split="test",
        data_dir=tmp_path,
        builder_kwargs=how,
        **raw_folder(ped2),
    )
    found = [(r["video"], int(r["first_frame"])) for r in data.as_numpy_iterator()]
    assert found == [(b"01", 0), (b"01", 128), (b"02", 0)]
    record = next(data.as_numpy_iterator())
    assert record["frames"].shape == (128, 64, 64, 3)
    source = build_of(ped2, tmp_path / "other")
    np.testing.assert_array_equal(record["frames"], source[0]["frames"])


def build_of(root, out):
    return tfds.data_source("vad_ucsd_ped2/64", split="test", data_dir=out, **raw_folder(root))


WITHOUT_TENSORFLOW = """
import importlib.util, sys
assert importlib.util.find_spec("tensorflow") is None
import tensorflow_datasets as tfds
import vad_jax.tfds
raw = tfds.download.DownloadConfig(manual_dir=sys.argv[1])
options = {"download_config": raw}
data = tfds.data_source(
    "vad_ucsd_ped2/64", split="test", data_dir=sys.argv[2], download_and_prepare_kwargs=options
)
for r in data:
    print(r["video"].decode(), r["first_frame"], r["frames"][0].shape, sum(r["label"]))
folder = sys.argv[2] + "/vad_ucsd_ped2/64/1.0.0"
read = tfds.builder_from_directory(folder)
print(read.as_data_source("train")[0]["frames"][6].mean() > 0)
from pathlib import Path
from array_record.python.array_record_data_source import ArrayRecordDataSource
raw = ArrayRecordDataSource([str(file) for file in Path(folder).glob("*-test.array_record-*")])
record = read.info.features.deserialize_example_np(raw[2])
print(record["video"], record["frames"][8].shape)
assert not [name for name in sys.modules if name.split(".")[0] in ("tensorflow", "keras")]
"""


def test_building_and_reading_need_no_tensorflow(ped2, tmp_path):
    packages = tmp_path / "packages"  # all that are installed, but that one
    packages.mkdir()
    for entry in Path(tfds.__file__).parents[1].iterdir():
        if entry.name not in ("tensorflow", "keras"):
            (packages / entry.name).symlink_to(entry)
    house = Path(vad_jax.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-S", "-c", WITHOUT_TENSORFLOW, str(ped2), str(tmp_path / "built")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{packages}{os.pathsep}{house}"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.strip().splitlines()
    told = ["01 0 (64, 64, 3) 26", "01 128 (64, 64, 3) 0", "02 0 (64, 64, 3) 2"]
    assert said[-5:] == [*told, "True", "b'02' (64, 64, 3)"]


def write_film(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (WIDTH, HEIGHT))
    for number in range(frames):
        writer.write(np.full((HEIGHT, WIDTH, 3), 20 * number, np.uint8))
    writer.release()


def test_training_videos_of_ucf_crime_have_a_class_and_no_labels(tmp_path):
    root = tmp_path / "ucf"
    for name in ("Abuse001", "Normal_Videos001", "Arson011", "Normal_Videos_003"):
        write_film(root / name.rstrip("0123456789") / f"{name}_x264.avi", 6)
    lists = {
        "Anomaly_Train.txt": "Abuse/Abuse001_x264.mp4\nNormal/Normal_Videos001_x264.mp4\n",
        "Anomaly_Test.txt": "Arson/Arson011_x264.mp4\nNormal/Normal_Videos_003_x264.mp4\n",
        "Temporal_Anomaly_Annotation.txt": "Arson011_x264.mp4  Arson  2  4  -1  -1  \n"
        "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  \n",
    }
    for name, text in lists.items():
        (root / name).write_text(text)
    source = tfds.data_source("vad_ucf_crime/64", data_dir=tmp_path / "built", **raw_folder(root))
    found = {r["class"]: r["label"] for part in ("train", "test") for r in source[part]}
    assert set(found) == {b"Abuse", b"Arson", b"Normal"}
    assert len(found[b"Abuse"]) == 0
    assert list(found[b"Arson"]) == [0, 1, 1, 1, 0, 0]


def cells(values):
    found = np.empty((1, len(values)), object)
    for position, value in enumerate(values):
        found[0, position] = value
    return found


def test_avenue_has_labels_by_masks_and_labels_by_intervals(tmp_path):
    root = tmp_path / "avenue"
    write_film(root / "training_videos" / "01.avi", 5)
    write_film(root / "testing_videos" / "01.avi", 6)
    masks = [np.full((HEIGHT, WIDTH), position in (2, 4), np.uint8) for position in range(6)]
    truth = root / "ground_truth_demo" / "testing_label_mask"
    truth.mkdir(parents=True)
    scipy.io.savemat(truth / "1_label.mat", {"volLabel": cells(masks)})
    scipy.io.savemat(root / "avenue.mat", {"gt": cells([np.array([[3], [5]], np.uint8)])})
    options = raw_folder(root, data_dir=tmp_path / "built", split="test")
    (record,) = tfds.data_source("vad_avenue/64", **options)
    assert list(record["label"]) == [0, 0, 1, 0, 1, 0]
    assert [mask.any() for mask in record["mask"]] == record["label"]
    (record,) = tfds.data_source("vad_avenue/64_intervals", **options)
    assert list(record["label"]) == [0, 0, 1, 1, 1, 0]
    assert record["mask"][2].shape == (HEIGHT, WIDTH, 1)


def test_shanghaitech_has_films_frames_and_arrays_of_masks(tmp_path):
    root = tmp_path / "shanghaitech"
    write_film(root / "training" / "videos" / "01_001.avi", 5)
    write(root / "testing" / "frames" / "01_0014", 6, ".jpg")
    masks = np.zeros((6, HEIGHT, WIDTH), np.uint8)
    masks[3, 2:4] = 1
    for folder, values in (("test_pixel_mask", masks), ("test_frame_mask", masks.any((1, 2)))):
        (root / "testing" / folder).mkdir()
        np.save(root / "testing" / folder / "01_0014.npy", values.astype(np.uint8))
    options = raw_folder(root, data_dir=tmp_path / "built")
    (record,) = tfds.data_source("vad_shanghaitech/64", split="test", **options)
    assert list(record["label"]) == [0, 0, 0, 1, 0, 0]
    np.testing.assert_array_equal(np.array(record["mask"])[..., 0] > 0, masks > 0)

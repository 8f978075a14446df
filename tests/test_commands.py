"""The commands as a user meets them: what bad input is told, what an evaluation leaves behind."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import vad_jax
from vad_jax import config as configs
from vad_jax import evaluation, pictures
from vad_jax.datasets import splits
from vad_jax.evaluate import _normal_scores, evaluate
from vad_jax.pictures import thumbnails as timeline
from vad_jax.train import train
from vad_jax.types import CheckpointError, DataError

REPOSITORY = Path(__file__).resolve().parents[1]
METRICS = {
    "auc_micro", "auc_macro", "auc_macro_padded", "auc_macro_padded01", "ap", "eer",
    "pixel_auc_40", "pixel_auc", "rbdc", "tbdc",
}  # fmt: skip
TEST_VIDEOS = 6
TEST_FRAMES = 720

# The run first: what is compared with it must be compiled alike.


@pytest.fixture
def small(synthetic_root, tmp_path):
    """Two training and two test videos of 12 frames, `small[PART][VIDEO]` their folders."""
    root = tmp_path / "small"
    for part in ("training", "testing"):
        for name in ("01", "02"):
            target = root / part / "frames" / name
            target.mkdir(parents=True)
            source = synthetic_root / part / "frames" / name
            for path in sorted(source.glob("*.png"))[:12]:
                shutil.copy(path, target)
    np.save(root / "labels.npy", np.tile(np.arange(12) >= 6, 2).astype(np.uint8))
    return root


@pytest.fixture
def copied(finished_run, tmp_path):
    """The finished run in another place."""
    return Path(shutil.copytree(finished_run[0], tmp_path / "elsewhere" / "run"))


@pytest.fixture
def training_on(run_config, tmp_path):
    """A function that trains one step on a folder."""

    def go(root, **changes):
        config = run_config(
            data__root=str(root),
            data__name="folder",
            data__validation=(),
            stages__train__epochs=None,
            stages__train__steps=1,
            **changes,
        )
        return train(config, tmp_path / "run")

    return go


def frame(root, number, part="training", video="02"):
    return root / part / "frames" / video / f"{number:03d}.png"


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


# Training on bad data


def test_a_missing_folder_is_named(training_on, tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist.*data.root"):
        training_on(tmp_path / "nowhere")


def test_an_empty_folder_is_named(training_on, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty is empty"):
        training_on(tmp_path / "empty")


def test_a_folder_without_videos_says_what_was_looked_for(training_on, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    with pytest.raises(DataError, match=r"No video under .*notes.*training/.*found readme.txt"):
        training_on(tmp_path / "notes")


def test_a_folder_without_training_videos_is_refused(training_on, small):
    shutil.rmtree(small / "training")
    with pytest.raises(DataError, match="has no training part: expected a folder `training`"):
        training_on(small)


@pytest.mark.parametrize(
    ("size", "said"), [(0, "is empty"), (30, "is cut off"), (700, "is cut off")]
)
def test_a_damaged_frame_stops_by_default(training_on, small, size, said):
    cut(frame(small, 3), size)
    message = rf"Video 02, frame 3: .*003.png \({size} bytes\) {said}.*on_bad_frame=skip"
    with pytest.raises(DataError, match=message):
        training_on(small)


def test_a_file_that_is_no_picture_stops_by_default(training_on, small):
    frame(small, 3).write_text("this was a frame once" * 9)
    with pytest.raises(DataError, match=r"Video 02, frame 3: .*is no picture"):
        training_on(small)


def test_frames_of_two_sizes_in_a_video_are_refused(training_on, small):
    cv2.imwrite(str(frame(small, 5)), np.zeros((20, 30), np.uint8))
    with pytest.raises(DataError, match=r"Video 02, frame 5: 20x30 pixels, the frames before"):
        training_on(small)


def test_videos_of_two_sizes_are_refused(training_on, small):
    for number in range(12):
        cv2.imwrite(str(frame(small, number)), np.zeros((20, 30), np.uint8))
    with pytest.raises(DataError, match=r"Video 02, frame 0: 20x30 pixels, but video 01 has"):
        training_on(small)


def test_videos_all_shorter_than_a_window_are_refused(training_on, small):
    for video in ("01", "02"):
        for number in range(4, 12):
            frame(small, number, video=video).unlink()
    message = r"No training video has a window of 5 whole frames: 01 \(4 frames\), 02 \(4 frames\)"
    with pytest.raises(DataError, match=message):
        training_on(small)


def test_what_is_skipped_is_named_and_counted_and_the_run_goes_on(training_on, small, caplog):
    """A damaged frame in each part, a training and a test video of one frame."""
    cut(frame(small, 2, video="01"), 30)
    cut(frame(small, 11, "testing", "01"), 0)
    for part in ("training", "testing"):
        for number in range(1, 12):
            frame(small, number, part).unlink()
    np.save(small / "labels.npy", (np.arange(13) >= 6).astype(np.uint8))
    metrics = training_on(small, data__on_bad_frame="skip", input__step=1)
    said = caplog.text
    assert "Video 01: 1 of 12 frames cannot be read and are skipped: 2" in said
    assert "Video 01: 1 of 12 frames cannot be read and are skipped: 11" in said
    assert said.count("data.on_bad_frame=skip: 1 frames of 2 videos skipped, 0 videos left") == 2
    assert "1 training videos are left out, each needs a window of 5 whole frames: 02 (1" in said
    assert "Left out: 02 (1 frames): no score, a window needs 5 whole frames" in said
    assert "Left out: 01: 1 frames cannot be read, first 11" in said
    assert len(metrics["data"]["left_out"]) == 2  # what makes the exit code 3
    assert metrics["data"]["frames"] == 13
    assert metrics["data"]["scored"] == 7  # frames 4 to 10 of test video 01


# Evaluating on bad data


def test_one_array_of_labels_of_the_wrong_length(copied, tmp_path):
    np.save(tmp_path / "labels.npy", np.zeros(700, np.uint8))
    with pytest.raises(DataError, match=r"700 labels.*6 test videos have 720 frames.*part in 06"):
        evaluate(copied, labels=tmp_path / "labels.npy")


def test_labels_of_one_video_of_the_wrong_length(copied, tmp_path):
    for number in range(1, 7):
        np.save(tmp_path / f"{number:02d}.npy", np.zeros(119 if number == 4 else 120, np.uint8))
    with pytest.raises(DataError, match=r"04 has 120 frames.*119"):
        evaluate(copied, labels=tmp_path)


def test_labels_in_a_pickle_are_never_opened(copied, tmp_path):
    np.save(tmp_path / "labels.npy", np.array([{}] * 720, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"labels.npy is no plain array.*never"):
        evaluate(copied, labels=tmp_path / "labels.npy")


def test_labels_that_are_not_there(copied, small, tmp_path):
    with pytest.raises(DataError, match=r"none.npy do not exist.*--labels"):
        evaluate(copied, labels=tmp_path / "none.npy")
    (small / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"No labels were found in .*small.*--labels"):
        evaluate(copied, root=small)


def test_a_root_without_test_videos(copied, small):
    shutil.rmtree(small / "testing")
    with pytest.raises(DataError, match=r"small has no test videos"):
        evaluate(copied, root=small)


def test_test_videos_all_shorter_than_a_window(copied, small):
    for video in ("01", "02"):
        for number in range(4, 12):
            frame(small, number, "testing", video).unlink()
    np.save(small / "labels.npy", np.zeros(8, np.uint8))
    before = (copied / "scores.npz").read_bytes()
    with pytest.raises(DataError, match=r"No test video has a score.*needs 5.*02 \(4 frames\)"):
        evaluate(copied, root=small)
    assert (copied / "scores.npz").read_bytes() == before


def test_a_damaged_test_frame_stops_by_default(copied, small):
    cut(frame(small, 7, "testing"), 30)
    with pytest.raises(DataError, match=r"Video 02, frame 7: .*is cut off"):
        evaluate(copied, root=small)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no run \(config.json is missing\)"):
        evaluate(tmp_path)


def test_a_run_that_is_not_finished(copied):
    (copied / "normal.npz").unlink()
    with pytest.raises(CheckpointError, match=r"not finished .*checkpoint at step.*same command"):
        evaluate(copied)
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(CheckpointError, match=r"checkpoints/train does not exist: train first"):
        evaluate(copied)


def test_a_damaged_config_of_a_run(copied):
    (copied / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"damaged config.json or data.json"):
        evaluate(copied)


# What an evaluation leaves behind


def figures(metrics):
    for protocol in ("paper", "online"):
        for variant in ("raw", "smoothed"):
            yield metrics["protocols"][protocol][variant]


def leaves(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def test_metrics_have_the_documented_keys_and_plain_values(finished_run):
    metrics = json.loads((finished_run[0] / "metrics.json").read_text())
    assert metrics == finished_run[1]
    documented = {"version", "protocols", "per_video", "controls", "beats_controls", "events"}
    assert documented | {"calibration", "data", "run", "recognition"} <= metrics.keys()
    for table in figures(metrics):
        assert set(table) == METRICS
        for name, figure in table.items():
            if figure["value"] is None:
                assert figure["why"], name
            else:
                assert {"low", "high", "level", "replicates", "dropped"} <= figure.keys(), name
                assert isinstance(figure["value"], float), name
                assert 0 <= figure["low"] <= figure["high"] <= 1, name
    assert len(metrics["per_video"]) == TEST_VIDEOS
    assert metrics["data"]["frames"] == TEST_FRAMES
    assert metrics["data"]["scored"] == TEST_VIDEOS * 29  # windows of 5 at step 4 in 120 frames
    assert metrics["run"]["checkpoint"]["chosen"] == "last"
    assert not any(isinstance(v, float) and not np.isfinite(v) for v in leaves(metrics))


def test_scores_have_the_documented_arrays_over_all_frames(finished_run):
    with np.load(finished_run[0] / "scores.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    parts = {f"part_{name}" for name in ("psnr", "distance", "point_score", "updated")}
    scores = {f"score_{p}_{v}" for p in ("paper", "online") for v in ("raw", "smoothed")}
    results = {
        f"fused_{name}_{score.removeprefix('score_')}"
        for name in ("psnr_only", "distance_only")
        for score in scores
    }
    signs = {f"{part}_sign" for part in parts}
    others = {"video_names", "offsets", "frame", "label", "meta"}
    boxes = {f"det_{name}" for name in ("video", "frame", "box", "score")}
    assert set(arrays) == others | scores | parts | signs | results | boxes
    assert arrays["video_names"].dtype.kind == "U"
    kinds = {"offsets": np.int64, "frame": np.int32, "label": np.int8}
    kinds |= dict.fromkeys(scores | parts | results, np.float64)
    for name, kind in kinds.items():
        assert arrays[name].dtype == kind, name
        assert arrays[name].shape == ((TEST_VIDEOS + 1) if name == "offsets" else TEST_FRAMES,)
    np.testing.assert_array_equal(arrays["offsets"], np.arange(0, TEST_FRAMES + 1, 120))
    np.testing.assert_array_equal(arrays["frame"], np.tile(np.arange(120), TEST_VIDEOS))
    reached = (arrays["frame"] % 4 == 0) & (arrays["frame"] >= 4)
    for name in scores | parts | results:
        np.testing.assert_array_equal(np.isfinite(arrays[name]), reached, err_msg=name)
    assert int(arrays["part_psnr_sign"]) == -1  # dB fall when strange
    meta = json.loads(str(arrays["meta"]))
    needed = {"method", "config_hash", "checkpoint_step", "data_hash", "label_source", "label_hash"}
    assert needed | {"fps", "seed"} <= meta.keys()


def test_the_threshold_comes_from_the_held_out_video_alone(finished_run):
    found, seen = finished_run[1]["calibration"], finished_run[1]["events"]
    assert (found["source"], found["videos"], found["blocks"]) == ("held-out", 1, 1)
    assert found["rate_per_hour"] == pytest.approx(np.log(2) * 360)  # one block of ten seconds
    detector = vad_jax.load(finished_run[0])
    (video,) = _normal_scores(detector, finished_run[0]).scores
    assert found["threshold"] == np.nanmax(video[:100])  # of the one whole block
    settings = detector.config.data
    normal = splits.training(splits.find(settings), settings, detector.method.inputs)[1]
    np.testing.assert_allclose(detector.score(normal[0].stream()).score, video, rtol=1e-6)
    assert seen["recall"]["value"] == seen["recalled"] / seen["events"]
    assert seen["events"] > 0
    assert seen["normal_hours"] > 0


def test_a_rate_that_the_normal_video_is_too_short_for_is_refused(copied):
    found = evaluate(copied, false_alarms_per_hour=1.0)
    assert found["calibration"]["threshold"] is None
    assert found["calibration"]["hours_needed"] == pytest.approx(1)
    assert "needs 1 hours of normal footage, held are" in found["calibration"]["why"]
    assert found["events"]["recall"] is None
    assert "--false_alarms_per_hour=1.0" in found["run"]["command"]


def test_another_frame_rate_is_taken(copied):
    found = evaluate(copied, fps=20.0)
    assert found["calibration"]["block_seconds"] == 6  # all that the video has


def test_a_run_of_a_version_that_kept_no_normal_scores_is_evaluated(copied, caplog):
    (copied / "normal_windows.npz").unlink()
    found = evaluate(copied)
    assert found["calibration"]["threshold"] is None
    assert "no scores of normal footage" in found["calibration"]["why"]
    assert "give its training command again" in caplog.text


def test_the_report_asks_for_nothing_outside(finished_run):
    page = (finished_run[0] / "report.html").read_text()
    asked = re.findall(r"(?:src|href|action|data-src)\s*=\s*[\"']?([^\"'\s>]+)", page)
    asked += re.findall(r"url\(\s*[\"']?([^\"')]+)", page) + re.findall(r"@import\s+(\S+)", page)
    assert all(target.startswith(("#", "data:")) for target in asked)
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)  # names of XML dialects are no links
    assert "fetch(" not in page
    assert "XMLHttpRequest" not in page


def test_the_pictures_of_the_index_can_be_read(finished_run):
    folder = finished_run[0] / "pictures"
    entries = json.loads((folder / "index.json").read_text())
    kinds = {"hit", "false_alarm", "miss", "matching", "memory"}
    assert {entry["kind"] for entry in entries} == kinds
    pictures = {path.name for path in folder.iterdir() if path.suffix in (".png", ".jpg")}
    assert {entry["file"] for entry in entries} == pictures
    for entry in entries:
        picture = cv2.imread(str(folder / entry["file"]))
        assert picture is not None, entry["file"]
        assert picture.std() > 1, entry["file"]
        if entry["kind"] in ("hit", "false_alarm", "miss"):
            assert entry["label"] == (0 if entry["kind"] == "false_alarm" else 1)


def test_a_bounded_number_of_frames_is_kept_for_the_timelines(finished_run):
    folder = finished_run[0] / "pictures"
    about = json.loads((folder / "timeline.json").read_text())
    places = [(kept["video"], kept["frame"]) for kept in about["frames"]]
    assert places == sorted(set(places))
    assert len(places) == TEST_VIDEOS * 29 <= about["most"] == timeline.MOST
    assert about["step"] == 1
    extreme = [e for e in json.loads((folder / "index.json").read_text()) if "video" in e]
    assert {(int(e["video"]) - 1, e["frame"]) for e in extreme} <= set(places)
    for kept in about["frames"][::40]:
        picture = cv2.imread(str(folder / kept["file"]))
        assert picture.shape == (timeline.HEIGHT, 2 * timeline.HEIGHT, 3)  # frame and map
    assert any(kept["boxes"] for kept in about["frames"])


def test_a_method_without_maps_has_pictures_of_frames(finished_run, tmp_path):
    detector = vad_jax.load(finished_run[0])
    own = detector.method.score

    def score(variables, carry, batch):
        carry, scores = own(variables, carry, batch)
        return carry, scores._replace(maps=None)

    detector = dataclasses.replace(
        detector, method=dataclasses.replace(detector.method, score=score)
    )
    settings = detector.config.data
    videos = splits.testing(splits.find(settings), settings, detector.method.inputs)
    scored = evaluation.read_scores(finished_run[0] / "scores.npz")
    entries = pictures.draw(detector, videos, scored, tmp_path / "pictures")
    assert {e["caption"] for e in entries if e["kind"] == "miss"} == {"frame · output"}
    about = json.loads((tmp_path / "pictures" / "timeline.json").read_text())
    assert about["high"] == 0
    assert not any(kept["boxes"] for kept in about["frames"])
    picture = cv2.imread(str(tmp_path / "pictures" / about["frames"][0]["file"]))
    assert picture.shape == (timeline.HEIGHT, timeline.HEIGHT, 3)  # the frame alone


def test_of_a_long_set_every_kth_frame_is_kept_and_all_extreme_ones():
    scores = [np.arange(5000.0), np.full(10, np.nan), np.arange(800.0)]
    scored = evaluation.Scored(
        names=("a", "b", "c"),
        labels=[np.zeros(len(video), np.int8) for video in scores],
        scores={"online_raw": scores},
    )
    entries = [{"video": "c", "frame": 7}, {"title": "memory"}, {"video": "a", "frame": 1}]
    chosen, step = timeline._chosen(scored, entries)
    assert len(chosen) <= timeline.MOST
    assert {(2, 7), (0, 1)} <= set(chosen)
    assert set(chosen) - {(2, 7), (0, 1)} == {
        (0, n) if n < 5000 else (2, n - 5000) for n in range(0, 5800, step)
    }
    assert step == 25  # of 5,800 frames 238 at most


def test_frames_with_the_score_of_another_are_not_drawn():
    lent, parts = np.array([3.0, 3.0, 3.0, 1.0]), np.array([np.nan, np.nan, 3.0, 1.0])
    scored = evaluation.Scored(
        names=("a",),
        labels=[np.ones(4, np.int8)],
        scores={"online_raw": [lent]},
        parts={"distance": [parts]},
    )
    assert timeline._chosen(scored, [])[0] == [(0, 2), (0, 3)]


# Real commands


def command(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"vad_jax.{module}", *arguments],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        timeout=300,
        check=False,
    )


def test_a_copied_run_evaluates_the_same_and_prints_its_figures(finished_run, copied):
    for name in ("scores.npz", "metrics.json", "report.html"):
        (copied / name).unlink()
    done = command("evaluate", f"--workdir={copied}", "--json")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    written = json.loads((copied / "metrics.json").read_text())
    assert last == written
    for section in ("protocols", "per_video", "controls", "beats_controls", "data"):
        assert written[section] == finished_run[1][section], section
    with (
        np.load(copied / "scores.npz") as here,
        np.load(finished_run[0] / "scores.npz") as there,
    ):
        for name in there.files:
            np.testing.assert_array_equal(here[name], there[name], err_msg=name)


QUICKSTART = "--config=configs/quickstart.py"


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        (
            "train",
            ["--config=configs/nothing.py"],
            r"ConfigError: There is no config file .*nothing",
        ),
        ("train", [QUICKSTART, "--config.widht=8"], r"ConfigError: .*'widht'.*mean width"),
        ("train", [QUICKSTART, "--config.width=2.5"], r"ConfigError: width='2.5'.*type int"),
        ("train", [QUICKSTART, "--config.width"], r"ConfigError: --config.width: write"),
        ("train", [QUICKSTART, "--width=8"], r"ConfigError: .*width.*--help"),
        ("train", [QUICKSTART, "extra"], r"ConfigError: Unexpected argument 'extra'"),
        ("train", ["--config=configs/mnad.py:ped3"], r"ConfigError: .*preset 'ped3'; there are:"),
        ("evaluate", [], r"ConfigError: .*--workdir=runs/NAME"),
        (
            "evaluate",
            ["--workdir=a", "--shots=1", "--fps=9"],
            r"--fps .* with --shots",
        ),
        ("evaluate", ["--workdir=nowhere"], r"CheckpointError: nowhere holds no run"),
        ("evaluate", ["--workdir=a", "--workdir=b"], r"CheckpointError: a holds no run"),
        ("evaluate", ["--workdir=a,b", "--steps=3"], r"ConfigError: --steps .*--workdir.*--shots"),
        ("evaluate", ["--workdir=a", "--shots=one"], r"ConfigError: --shots=one: give whole"),
        ("evaluate", ["--scores=a.npz", "--all_frames"], r"ConfigError: --all_frames .*--workdir"),
        ("evaluate", ["--scores=a.npz", "--data=avenue"], r"ConfigError: --data .*give both"),
    ],
)
def test_a_mistake_of_the_user_is_one_message_and_exit_code_2(module, arguments, said):
    done = command(module, *arguments)
    assert done.returncode == 2
    assert re.search(said, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_workdir_of_another_config_is_refused(finished_run, synthetic_root):
    stored = configs.from_json((finished_run[0] / "config.json").read_text())
    done = command(
        "train",
        "--config=configs/mnad.py:tiny",
        f"--workdir={finished_run[0]}",
        f"--config.data.root={synthetic_root}",
        f"--config.data.cache={stored.data.cache}",
    )
    assert done.returncode == 2
    assert re.search(
        r"holds a run of another config:\n.*input.step: 1 here, 4 there", done.stderr, re.S
    )
    assert "Give another --workdir" in done.stderr
    assert "Traceback" not in done.stderr

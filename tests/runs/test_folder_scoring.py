"""`vad_jax.score` as a person meets it: files in, CSV and mp4 out, nothing lost on the way."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support import films
from support.folders import rows

import vad_jax
from vad_jax.runs import folder_scoring
from vad_jax.runs.folder_scoring import score
from vad_jax.runs.training import train
from vad_jax.types import DataError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def workdir(level_run):
    return level_run[0]


def scores(path):
    return np.array([float(row["score"] or "nan") for row in rows(path)])


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "vad_jax.score", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        **options,
    )


def test_every_video_gets_its_file_and_a_bad_one_is_named(finished_run, folder, tmp_path):
    done = command(
        f"--workdir={finished_run[0]}",
        f"--source={folder}",
        f"--output={tmp_path / 'out'}",
        "--json",
    )
    assert done.returncode == 3, done.stderr
    assert "Video bad" in done.stderr
    assert "no readable frame" in done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    counted = figures["videos"], figures["frames"], figures["scored"]
    assert counted == (3, 28, 5)  # a window every fourth frame
    assert [len(rows(tmp_path / "out" / f"{n}.csv")) for n in ("door/a", "b", "c")] == [12, 9, 7]
    first = rows(tmp_path / "out" / "door" / "a.csv")
    assert [row["score"] for row in first[:4]] == [""] * 4, "no window ends before the fifth frame"
    assert [row["frame"] for row in first] == [str(number) for number in range(12)]
    assert float(first[11]["seconds"]) == pytest.approx(1.1, abs=2e-3)
    assert rows(tmp_path / "out" / "c.csv")[6]["seconds"] == "", "pictures have no times"


def test_scores_are_those_of_the_detector(workdir, tmp_path):
    path = films.write(tmp_path / "a.avi", frames=14)
    score(workdir, path, tmp_path / "out")
    capture, frames = cv2.VideoCapture(str(path)), []
    while (answer := capture.read())[0]:
        frames.append(cv2.cvtColor(answer[1], cv2.COLOR_BGR2GRAY))
    expected = vad_jax.load(workdir).score(frames).score
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(scores(tmp_path / "out" / "a.csv"), expected, rtol=2e-5)


def test_what_is_done_is_not_done_again(workdir, folder, tmp_path):
    (folder / "bad.mp4").unlink()
    out = tmp_path / "out"
    assert score(workdir, folder, out)["videos"] == 3
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.csv")}
    again = score(workdir, folder, out)
    assert (again["videos"], again["skipped"], again["left_out"]) == (0, 3, [])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.csv")} == times

    shutil.copy(folder / "b.avi", tmp_path / "copy.avi")
    films.write(folder / "b.avi", frames=10)  # another film of the same name
    (out / "c.csv").write_text("")  # damaged
    assert score(workdir, folder, out)["videos"] == 2
    assert len(rows(out / "b.csv")) == 10
    assert score(workdir, folder, out, fps=2.0)["videos"] == 1, "only pictures have no rate"
    assert score(workdir, folder, out, fps=2.0, overlay=True)["videos"] == 3
    assert score(workdir, folder, out, fps=2.0)["videos"] == 0


def test_a_stopped_run_goes_on_behind_the_last_video_it_finished(workdir, folder, tmp_path):
    (folder / "bad.mp4").unlink()
    out, original, seen = tmp_path / "out", folder_scoring._one, []

    def stops(detector, video, *rest):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(video.name)
        return original(detector, video, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_scoring, "_one", stops)
        with pytest.raises(KeyboardInterrupt):
            score(workdir, folder, out)
    again = score(workdir, folder, out)
    assert (again["videos"], again["skipped"]) == (1, 2)


# What is drawn


def drawn(path):
    """The frames of an mp4 as a player shows them, and when, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = [(f.to_ndarray(format="bgr24").astype(int), f.time) for f in container.decode()]
    images, times = zip(*frames, strict=True)
    return images, np.array(times)


def redness(image):
    return image[..., 2] - image[..., 0] > 60


def test_the_overlay_has_every_frame_and_the_curve(workdir, tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=15, size=(47, 61), fps=10)
    score(workdir, path, tmp_path / "out", overlay=True, threshold=-100.0)
    frames, times = drawn(tmp_path / "out" / "a.mp4")
    np.testing.assert_allclose(times, np.arange(15) / 10, atol=1e-4)
    assert frames[0].shape[1] >= 480
    assert redness(frames[8][:3]).mean() > 0.9, "a frame in alarm has a red frame"
    assert not redness(frames[2][:3]).any(), "no score"
    curve = np.mean([np.abs(frames[0][-120:] - image[-120:]).max() for image in frames[1:]])
    assert curve > 50, "a mark wanders through the curve"
    assert not list((tmp_path / "out").glob("*part*"))


def test_an_overlay_plays_as_fast_as_its_film(workdir, tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=14, fps=10)
    unit = films.units_a_second(path)
    films.with_times(path, [unit // 5] * 4 + [unit // 30] * 10)
    score(workdir, path, tmp_path / "out", overlay=True)
    expected = np.r_[np.arange(4) / 5, 0.8 + np.arange(10) / 30]
    np.testing.assert_allclose(drawn(tmp_path / "out" / "a.mp4")[1], expected, atol=2e-3)
    seconds = [float(row["seconds"]) for row in rows(tmp_path / "out" / "a.csv")]
    np.testing.assert_allclose(seconds, expected, atol=2e-3)


def test_boxes_are_drawn_where_the_score_is_above_the_threshold(workdir, tmp_path):
    """The left half moves wildly; where no score is above the threshold no box is drawn."""
    pixels = np.full((15, 64, 64, 3), 90, np.uint8)
    pixels[:, 16:48, 16:32] = np.random.default_rng(0).integers(0, 256, (15, 1, 16, 1))
    path = films.write(tmp_path / "a.avi", frames=15, size=(64, 64), fps=10, pixels=pixels)
    score(workdir, path, tmp_path / "low", overlay=True, threshold=-100.0)
    top = np.nanmax(scores(tmp_path / "low" / "a.csv"))
    score(workdir, path, tmp_path / "high", overlay=True, threshold=float(top) + 1)
    low, high = (drawn(tmp_path / name / "a.mp4")[0][8][8:470, 8:-8] for name in ("low", "high"))
    assert redness(low).sum() > 100
    assert not redness(high).any()


def test_pictures_without_a_rate_are_said_once(workdir, folder, tmp_path, caplog):
    shutil.copytree(folder / "c", folder / "d")
    score(workdir, folder, tmp_path / "out", overlay=True)
    (line,) = [r.getMessage() for r in caplog.records if "--fps" in r.getMessage()]
    assert line.startswith("2 videos (c, d): when the frames are seen is not known")
    assert "25 frames a second" in line
    np.testing.assert_allclose(drawn(tmp_path / "out" / "c.mp4")[1], np.arange(7) / 25, atol=1e-4)
    caplog.clear()
    score(workdir, folder, tmp_path / "out", overlay=True, fps=2.0)
    assert "--fps" not in caplog.text
    np.testing.assert_allclose(drawn(tmp_path / "out" / "c.mp4")[1], np.arange(7) / 2, atol=1e-4)


# Alarms


def test_alarms_are_frames_above_the_threshold_and_events(workdir, tmp_path):
    path = films.write(tmp_path / "a.avi", frames=30, fps=10)
    score(workdir, path, tmp_path / "none", threshold="none")
    table = rows(tmp_path / "none" / "a.csv")
    assert {row["alarm"] for row in table} == {""}
    assert not (tmp_path / "none" / "a.events.csv").exists()
    values = scores(tmp_path / "none" / "a.csv")
    level = float(np.nanmin(values)) - 1
    found = score(workdir, path, tmp_path / "out", threshold=level)
    assert (found["threshold"], found["alarms"]) == (level, 1)
    (event,) = rows(tmp_path / "out" / "a.events.csv")
    scored = np.flatnonzero(np.isfinite(values))
    assert (event["first_frame"], event["last_frame"]) == (str(scored[0]), str(scored[-1]))
    assert float(event["first_seconds"]) == pytest.approx(scored[0] / 10, abs=2e-3)
    assert int(event["peak_frame"]) == np.nanargmax(values)
    assert float(event["peak"]) == pytest.approx(np.nanmax(values), rel=1e-5)
    alarm = [row["alarm"] for row in rows(tmp_path / "out" / "a.csv")]
    inside = (scored[0] <= np.arange(30)) & (np.arange(30) <= scored[-1])
    assert alarm == [str(int(value)) for value in inside], "gaps of less than a second are bridged"


def test_the_threshold_is_by_default_that_of_the_evaluation(finished_run, tmp_path, caplog):
    path = films.write(tmp_path / "a.avi")
    found = score(finished_run[0], path, tmp_path / "out")
    assert found["threshold"] == finished_run[1]["calibration"]["threshold"]
    assert "of normal footage" in found["threshold_says"]
    assert "not for fewer" in caplog.text, "ten seconds of it"


def test_footage_far_from_what_was_trained_on_is_said_once(workdir, tmp_path, caplog):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, 14, 32, 48, 3), np.uint8)
    (tmp_path / "in").mkdir()
    for number, pixels in enumerate(noise):
        films.write(tmp_path / "in" / f"{number}.avi", frames=14, pixels=pixels)
    found = score(workdir, tmp_path / "in", tmp_path / "out")
    assert found["outside"] == ["0", "1"]
    (line,) = [r.getMessage() for r in caplog.records if "trained on, another" in r.getMessage()]
    assert line.startswith("Every score of 2 videos (0, 1) is above every score")
    again = score(workdir, tmp_path / "in", tmp_path / "out")
    assert (again["skipped"], again["outside"]) == (2, ["0", "1"])


def test_footage_like_that_trained_on_is_not_called_far(workdir, synthetic_root, tmp_path):
    scene = synthetic_root / "training" / "frames" / "05"
    assert score(workdir, scene, tmp_path / "out")["outside"] == []


# What cannot be scored


def test_a_broken_frame_has_no_score_and_is_named(workdir, folder, tmp_path):
    (folder / "c" / "005.png").write_bytes(b"")
    found = score(workdir, folder / "c", tmp_path / "out")
    (line,) = found["left_out"]
    assert "1 frame cannot be read, first: Video c, frame 5" in line
    assert np.isfinite(scores(tmp_path / "out" / "c.csv")).tolist() == [False] * 4 + [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("frames", [1, 4])
def test_a_film_shorter_than_a_window_has_rows_without_scores(workdir, tmp_path, frames):
    path = films.write(tmp_path / "a.avi", frames=frames)
    found = score(workdir, path, tmp_path / "out")
    assert found["scored"] == 0
    assert (
        f"({frames} frame{'s' * (frames > 1)}): no score, a window needs 5 whole frames"
        in found["left_out"][0]
    )
    assert [row["score"] for row in rows(tmp_path / "out" / "a.csv")] == [""] * frames


def test_pictures_of_many_levels_are_read_as_in_training(level_config, synthetic_root, tmp_path):
    """12 bits in 16: the same frames as of 8 bits, where the run says which range it took."""
    frames = synthetic_root / "training" / "frames" / "01"
    (tmp_path / "deep").mkdir()
    for path in sorted(frames.iterdir())[:12]:
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "deep" / path.name), 16 * pixels)
    run = level_config(data__levels=(0, 16 * 255), evaluate_at_end=False)
    train(run, tmp_path / "run")
    score(tmp_path / "run", tmp_path / "deep", tmp_path / "out")
    score(tmp_path / "run", frames, tmp_path / "out")
    shallow = scores(tmp_path / "out" / "01.csv")[:12]
    np.testing.assert_allclose(scores(tmp_path / "out" / "deep.csv"), shallow, rtol=1e-5)


def test_pictures_can_be_given_a_rate(workdir, folder, tmp_path):
    score(workdir, folder / "c", tmp_path / "out", fps=2.0)
    assert [row["seconds"] for row in rows(tmp_path / "out" / "c.csv")][:3] == [
        "0.000",
        "0.500",
        "1.000",
    ]


def test_nothing_that_can_be_read_is_an_error(workdir, tmp_path):
    (tmp_path / "a.mp4").write_text("no film")
    with pytest.raises(DataError, match=r"Nothing could be scored: Video a"):
        score(workdir, tmp_path / "a.mp4", tmp_path / "out")


@pytest.mark.slow
def test_an_hour_needs_no_more_memory_than_a_minute(finished_run, tmp_path):
    """Peak memory of the whole command, decoder's child apart; 90,000 frames at 25 a second."""
    peaks = {}
    for frames in (1_500, 90_000):
        path = films.write(tmp_path / f"{frames}.avi", frames=frames, size=(24, 32), fps=25)
        code = (
            "import sys; from pathlib import Path\n"
            "from vad_jax.runs.folder_scoring import score\n"
            "score(*sys.argv[1:4], overlay=True)\n"
            "print(*[l for l in Path('/proc/self/status').read_text().splitlines() if 'HWM' in l])"
        )
        out = subprocess.run(
            [sys.executable, "-c", code, str(finished_run[0]), str(path), str(tmp_path / "out")],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        peaks[frames] = int(re.search(r"VmHWM:\s+(\d+) kB", out)[1]) / 1024
        assert len(rows(tmp_path / "out" / f"{frames}.csv")) == frames
    print(f"peak memory in MB by frames: {peaks}")
    assert peaks[90_000] < peaks[1_500] + 60, "numbers of 88,500 frames more, and no pictures"

"""`vad_jax.score` as a person meets it: files in, CSV and mp4 out, nothing lost on the way."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from support import films
from support.folders import rows

import vad_jax
from vad_jax.runs import folder_scoring
from vad_jax.runs.folder_scoring import score
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


def test_the_overlay_has_every_frame_and_the_curve(workdir, tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=15, size=(47, 61), fps=10)
    score(workdir, path, tmp_path / "out", overlay=True, threshold=-100.0)
    capture, frames = cv2.VideoCapture(str(tmp_path / "out" / "a.mp4")), []
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    while (answer := capture.read())[0]:
        frames.append(answer[1].astype(int))
    assert len(frames) == 15
    height, width = frames[0].shape[:2]
    assert width >= 320
    red = (frames[8][..., 2] - frames[8][..., 0] > 60)[: height - 100]
    assert red[:5].mean() > 0.3, "a frame above the threshold has a red frame"
    assert not (frames[2][..., 2] - frames[2][..., 0] > 60)[: height - 100][:5].any(), "no score"
    assert not list((tmp_path / "out").glob("*.part*"))


# What cannot be scored


def test_a_broken_frame_has_no_score_and_is_named(workdir, folder, tmp_path):
    (folder / "c" / "005.png").write_bytes(b"")
    found = score(workdir, folder / "c", tmp_path / "out")
    (line,) = found["left_out"]
    assert "1 frames cannot be read, the first: Video c, frame 5" in line
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
    assert f"({frames} frames): no score, a window needs 5 whole frames" in found["left_out"][0]
    assert [row["score"] for row in rows(tmp_path / "out" / "a.csv")] == [""] * frames


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

"""`vad_jax.score` as a person meets it: files in, CSV and mp4 out, nothing lost on the way."""

import csv
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

import vad_jax
from vad_jax.score import score
from vad_jax.types import CheckpointError, ConfigError, DataError

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def workdir(finished_run):
    return finished_run[0]


@pytest.fixture
def folder(tmp_path):
    """Two films, a folder of frames, and a text that calls itself a film."""
    root = tmp_path / "in"
    (root / "door").mkdir(parents=True)
    films.write(root / "door" / "a.mp4", frames=12)
    films.write(root / "b.avi", frames=9)
    (root / "c").mkdir()
    for number in range(7):
        pixels = np.full((20, 30), 10 * number, np.uint8)
        cv2.imwrite(str(root / "c" / f"{number:03d}.png"), pixels)
    (root / "bad.mp4").write_text("this is no film")
    return root


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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


def test_every_video_gets_its_file_and_a_bad_one_is_named(workdir, folder, tmp_path):
    done = command(
        f"--workdir={workdir}", f"--source={folder}", f"--output={tmp_path / 'out'}", "--json"
    )
    assert done.returncode == 3, done.stderr
    assert "Video bad" in done.stderr
    assert "no readable frame" in done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["videos"], figures["frames"], figures["scored"]) == (
        3,
        28,
        5,
    )  # a window every fourth frame
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
    from vad_jax import score as command

    (folder / "bad.mp4").unlink()
    out, original, seen = tmp_path / "out", command._one, []

    def stops(detector, video, *rest):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(video.name)
        return original(detector, video, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "_one", stops)
        with pytest.raises(KeyboardInterrupt):
            score(workdir, folder, out)
    again = score(workdir, folder, out)
    assert (again["videos"], again["skipped"]) == (1, 2)


@pytest.mark.parametrize("content", ['{"vid', '{"videos": {"a": {"x": 1}}, "begun": []}', "[]"])
def test_a_damaged_manifest_is_named(workdir, tmp_path, content):
    path = films.write(tmp_path / "a.avi")
    score(workdir, path, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest.json is damaged"):
        score(workdir, path, tmp_path / "out")


# Nothing of the user's is written over


def test_a_file_that_is_there_already_is_not_written_over(workdir, tmp_path):
    path = films.write(tmp_path / "a.mp4")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"a\.mp4 is there and was not written by this command"):
        score(workdir, path, tmp_path, overlay=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("labels of someone")
    with pytest.raises(DataError, match=r"a\.csv is there and was not written"):
        score(workdir, path, tmp_path / "out")
    assert path.read_bytes() == before
    assert (tmp_path / "out" / "a.csv").read_text() == "labels of someone"


def test_the_output_does_not_lie_in_the_source(workdir, folder):
    for output in (folder, folder / "scored"):
        with pytest.raises(ConfigError, match="lies in the source"):
            score(workdir, folder, output)


def test_two_videos_of_one_name_do_not_replace_each_other(workdir, tmp_path):
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
    first = films.write(tmp_path / "monday" / "cam.avi", frames=9)
    second = films.write(tmp_path / "tuesday" / "cam.avi", frames=11)
    score(workdir, first, tmp_path / "out")
    with pytest.raises(DataError, match=r"another video of this name, .*monday/cam\.avi"):
        score(workdir, second, tmp_path / "out")
    assert len(rows(tmp_path / "out" / "cam.csv")) == 9


def test_a_video_that_was_replaced_by_a_bad_one_leaves_no_old_scores(workdir, folder, tmp_path):
    (folder / "bad.mp4").unlink()
    score(workdir, folder, tmp_path / "out")
    (folder / "b.avi").write_text("no film any more")
    found = score(workdir, folder, tmp_path / "out")
    assert "Video b" in found["left_out"][0]
    assert not (tmp_path / "out" / "b.csv").exists()


def test_a_video_that_grows_while_it_is_scored_is_named(workdir, tmp_path, monkeypatch):
    path = films.write(tmp_path / "a.avi", frames=9)
    fused = vad_jax.Detector.fused

    def grows(self, *arguments, **options):
        films.write(path, frames=14)
        return fused(self, *arguments, **options)

    monkeypatch.setattr(vad_jax.Detector, "fused", grows)
    with pytest.raises(DataError, match="Video a changed while it was scored"):
        score(workdir, path, tmp_path / "out")
    monkeypatch.undo()
    assert score(workdir, path, tmp_path / "out")["frames"] == 14


def test_a_dangling_link_is_named_and_the_others_are_done(workdir, folder, tmp_path):
    (folder / "bad.mp4").unlink()
    (folder / "c" / "005.png").unlink()
    (folder / "c" / "005.png").symlink_to(folder / "nowhere.png")
    found = score(workdir, folder, tmp_path / "out")
    assert found["videos"] == 2
    assert "005.png cannot be read" in found["left_out"][0]


def test_a_folder_whose_pictures_are_all_broken_is_named_with_an_overlay_too(
    workdir, folder, tmp_path
):
    for path in (folder / "c").iterdir():
        path.write_bytes(b"")
    (folder / "bad.mp4").unlink()
    found = score(workdir, folder, tmp_path / "out", overlay=True)
    assert found["videos"] == 2
    assert "c has no readable frame to draw" in found["left_out"][0]


def test_the_folder_one_stands_in_has_a_name(workdir, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder / "c")
    score(workdir, ".", tmp_path / "out")
    assert (tmp_path / "out" / "c.csv").is_file()


def test_a_threshold_without_an_overlay_is_refused(workdir, tmp_path):
    with pytest.raises(ConfigError, match="give --overlay, too"):
        score(workdir, films.write(tmp_path / "a.avi"), tmp_path / "out", threshold=1.0)


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


def test_regions_lie_where_the_error_is(workdir):
    from vad_jax.pictures.overlay import Regions
    from vad_jax.types import Scores

    detector = vad_jax.load(workdir)
    regions = Regions(detector)
    maps = np.zeros((2, 1, 16, 16), np.float32)
    maps[1, 0, 4:8, 8:12] = 1.0
    regions(np.array([0, 1]), Scores(parts={}, maps=maps))
    (start, first, none), (_, second, boxes) = regions.by_window()
    assert (start, first, second) == (0, 4, 5), "the frame that a window scores"
    assert none == []
    ((x, y, w, h),) = boxes
    assert (x, y) == (7 / 16, 3 / 16)
    assert (w, h) == (6 / 16, 6 / 16)


def test_windows_that_share_a_frame_all_add_their_boxes():
    from vad_jax.pictures.overlay import _in_step

    boxes = _in_step([(0, 0, ["a"]), (0, 1, ["b"]), (1, 1, ["c"]), (1, 2, ["d"]), (2, 2, ["e"])])
    assert [boxes(number) for number in range(4)] == [["a"], ["b", "c"], ["d", "e"], []]


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


@pytest.mark.parametrize("source", ["missing", "http://example.org/a.mp4", "concat:a.mp4|b.mp4"])
def test_only_files_and_folders_are_opened(workdir, tmp_path, source):
    with pytest.raises(DataError, match=r"does not exist|is an address"):
        score(workdir, source, tmp_path / "out")


def test_an_empty_folder_says_what_was_looked_for(workdir, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("")
    with pytest.raises(DataError, match=r"No video under .*\.mp4"):
        score(workdir, tmp_path / "in", tmp_path / "out")


def test_a_foreign_or_missing_workdir_is_refused(tmp_path):
    path = films.write(tmp_path / "a.avi")
    with pytest.raises(CheckpointError, match="holds no run"):
        score(tmp_path, path, tmp_path / "out")


def test_an_output_that_cannot_be_written_is_refused(workdir, tmp_path):
    path = films.write(tmp_path / "a.avi")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written .*give another --output"):
        score(workdir, path, tmp_path / "file" / "out")


def test_a_read_only_output_is_refused(workdir, tmp_path, small_disk):
    path = films.write(tmp_path / "a.avi")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    said = r"cannot be written \(Read-only file system\): give another --output"
    with pytest.raises(CheckpointError, match=said):
        score(workdir, path, small_disk / "out")


def fill(folder, *, leave):
    (folder / "filler").write_bytes(bytes(shutil.disk_usage(folder).free - leave))


@pytest.mark.parametrize("overlay", [False, True])
def test_a_full_disk_is_named_and_leaves_no_half_file(workdir, tmp_path, small_disk, overlay):
    path = films.write(tmp_path / "a.avi", frames=200, size=(240, 320))
    fill(small_disk, leave=(64 if overlay else 4) << 10)
    done = command(
        f"--workdir={workdir}", f"--source={path}", f"--output={small_disk / 'out'}",
        f"--overlay={overlay}",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert re.search(r"out/\S+: (No space left on device|not all frames)", done.stderr)
    assert "Traceback" not in done.stderr
    left = {path.name for path in (small_disk / "out").iterdir()}
    assert left <= {"lock", "manifest.json", "a.csv"}
    (small_disk / "filler").unlink()
    again = score(workdir, path, small_disk / "out", overlay=overlay)
    assert (again["videos"], again["left_out"]) == (1, [])


@pytest.mark.slow
def test_an_hour_needs_no_more_memory_than_a_minute(workdir, tmp_path):
    """Peak memory of the whole command, decoder's child apart; 90,000 frames at 25 a second."""
    peaks = {}
    for frames in (1_500, 90_000):
        path = films.write(tmp_path / f"{frames}.avi", frames=frames, size=(24, 32), fps=25)
        code = (
            "import sys; from pathlib import Path; from vad_jax import score\n"
            "score.score(*sys.argv[1:4], overlay=True)\n"
            "print(*[l for l in Path('/proc/self/status').read_text().splitlines() if 'HWM' in l])"
        )
        out = subprocess.run(
            [sys.executable, "-c", code, str(workdir), str(path), str(tmp_path / "out")],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        peaks[frames] = int(re.search(r"VmHWM:\s+(\d+) kB", out)[1]) / 1024
        assert len(rows(tmp_path / "out" / f"{frames}.csv")) == frames
    print(f"peak memory in MB by frames: {peaks}")
    assert peaks[90_000] < peaks[1_500] + 60, "numbers of 88,500 frames more, and no pictures"

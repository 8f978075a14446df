"""Where `vad_jax.score` writes: over nothing of the user's, and no half file stays."""

import re
import shutil
import subprocess

import pytest
from support import films
from support.folders import rows

import vad_jax
from vad_jax import score as command
from vad_jax.runs.folder_scoring import score
from vad_jax.types import CheckpointError, ConfigError, DataError


@pytest.fixture(scope="module")
def workdir(level_run):
    return level_run[0]


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

    def grows(self, video, **options):
        if video.name == "a":
            films.write(path, frames=14)
        return fused(self, video, **options)

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


@pytest.mark.parametrize("given", ["high", "", "nan", None])
def test_a_threshold_is_calibrated_a_number_or_none(workdir, tmp_path, given):
    with pytest.raises(ConfigError, match=r"--threshold=.*calibrated .*a number, or none"):
        score(workdir, films.write(tmp_path / "a.avi"), tmp_path / "out", threshold=given)


def test_a_name_that_is_too_long_is_named_and_the_others_are_done(workdir, tmp_path):
    (tmp_path / "in").mkdir()
    films.write(tmp_path / "in" / "a.avi")
    films.write(tmp_path / "in" / "b.avi").rename(tmp_path / "in" / f"{'long' * 62}.avi")
    found = score(workdir, tmp_path / "in", tmp_path / "out", overlay=True)
    assert found["videos"] == 1
    (line,) = found["left_out"]
    assert re.search(r"Video longlong\S+: its name has 248 bytes.*rename it, \d+ bytes", line)
    longest = int(re.search(r"(\d+) bytes at most", line)[1])
    (tmp_path / "in" / f"{'long' * 62}.avi").rename(tmp_path / "in" / f"{'é' * (longest // 2)}.avi")
    found = score(workdir, tmp_path / "in", tmp_path / "out", overlay=True)
    assert (found["videos"], found["skipped"], found["left_out"]) == (1, 1, [])


@pytest.mark.parametrize("name", ["two\nlines", "caf\udce9"])
def test_a_name_that_is_no_text_is_one_line(workdir, tmp_path, name):
    """One given by itself; in a folder the others are done, too."""
    path = films.write(tmp_path / "a.avi")
    bad = path.rename(tmp_path / f"{name}.avi")
    with pytest.raises(DataError, match=r"Nothing could be scored: .*avi'?: rename it") as raised:
        score(workdir, bad, tmp_path / "out")
    assert "\n" not in str(raised.value)
    str(raised.value).encode()


@pytest.mark.parametrize("content", ['{"vid', '{"videos": {"a": {"x": 1}}, "begun": []}', "[]"])
def test_a_damaged_manifest_is_named(workdir, tmp_path, content):
    path = films.write(tmp_path / "a.avi")
    score(workdir, path, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest.json is damaged"):
        score(workdir, path, tmp_path / "out")


# What cannot be opened or written


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
def test_a_full_disk_is_named_and_leaves_no_half_file(
    workdir, tmp_path, small_disk, overlay, capsys
):
    path = films.write(tmp_path / "a.avi", frames=200, size=(240, 320))
    fill(small_disk, leave=(64 if overlay else 4) << 10)
    given = {"workdir": workdir, "source": path, "output": small_disk / "out", "overlay": overlay}
    assert command.main([f"--{name}={value}" for name, value in given.items()]) == 2
    said = capsys.readouterr().err
    assert re.search(r"out/\S+: (No space left on device|not all frames)", said)
    assert "Traceback" not in said
    left = {path.name for path in (small_disk / "out").iterdir()}
    assert left <= {"lock", "manifest.json", "a.csv", "a.events.csv"}
    (small_disk / "filler").unlink()
    again = score(workdir, path, small_disk / "out", overlay=overlay)
    assert (again["videos"], again["left_out"]) == (1, [])


@pytest.mark.parametrize("name", ["two\nlines", "caf\udce9"])
def test_a_bad_name_in_a_folder_is_one_line_and_the_others_are_done(workdir, tmp_path, name):
    (tmp_path / "in").mkdir()
    films.write(tmp_path / "in" / "b.avi").rename(tmp_path / "in" / f"{name}.avi")
    films.write(tmp_path / "in" / "a.avi")
    given = {"workdir": workdir, "source": tmp_path / "in", "output": tmp_path / "out"}
    assert command.main([f"--{key}={value}" for key, value in given.items()]) == 3
    found = score(**given)
    (line,) = found["left_out"]
    assert found["skipped"] == 1
    assert "rename it, a name must be text" in line
    assert "\n" not in line


def test_what_is_no_video_is_named_with_exit_code_3(workdir, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    for suffix in ("avi", "ts", "flv"):
        films.write(source / "a.avi").rename(source / f"{suffix}.{suffix}")
    (source / "b.rm").write_bytes(b".RMF")
    (source / "README.md").write_text("for people")
    given = {"workdir": workdir, "source": source, "output": tmp_path / "out"}
    assert command.main([f"--{key}={value}" for key, value in given.items()]) == 3
    said = capsys.readouterr()
    assert "Videos scored: 3" in said.out
    assert said.err.count("b.rm") == 1
    assert "README" not in said.err

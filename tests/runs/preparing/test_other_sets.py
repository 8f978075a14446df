"""A set under another's name, files that are none, and times: one line says it."""

import csv
import shutil
import unicodedata

import numpy as np
import pytest
import scipy.io
from support import films
from support.raw_sets import JOINED, TRUTH, examined, frame, said, write_frames

from vad_jax.datasets import open_dataset
from vad_jax.datasets.raw.ucsd import COUNTS
from vad_jax.runs.examining import check
from vad_jax.types import DataError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


def touched(folder, parts, prefixes=("", ""), *, suffix="jpg"):
    """Ped2 by its names alone: nothing is decoded before the set is known."""
    for part, prefix, counts in zip(parts, prefixes, COUNTS["ped2"], strict=True):
        for number, frames in enumerate(counts, 1):
            video = folder / part / f"{prefix}{number:0{3 if prefix else 2}d}"
            video.mkdir(parents=True)
            for image in range(frames):
                (video / f"{image:03d}.{suffix}").touch()
    return folder


@pytest.fixture
def repacked(tmp_path):
    return touched(tmp_path / "data", ("training/frames", "testing/frames"))


@pytest.fixture
def official(tmp_path):
    return touched(tmp_path / "UCSDped2", ("Train", "Test"), ("Train", "Test"), suffix="tif")


@pytest.mark.parametrize("name", ["ucsd_ped1", "avenue", "shanghaitech", "ucf_crime"])
def test_a_repacked_set_under_another_name_is_recognised_in_one_line(repacked, name, command):
    done = command(f"--data={name}", f"--root={repacked}", "--check")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "looks like ucsd_ped2" in line
    assert "--data=ucsd_ped2" in line


@pytest.mark.parametrize("name", ["ucsd_ped1", "avenue", "shanghaitech", "ucf_crime"])
def test_an_archive_under_another_name_is_recognised(official, name):
    with pytest.raises(DataError, match="ooks like ucsd_ped2"):
        open_dataset(name, official)


def test_an_archive_taken_for_a_folder_of_ones_own_is_noted(official):
    notes = open_dataset("folder", official).notes
    assert "it looks like ucsd_ped2: give --data=ucsd_ped2 (data.name=ucsd_ped2)" in notes


def test_most_of_a_set_is_that_set(repacked):
    shutil.rmtree(repacked / "testing" / "frames" / "12")
    assert not [note for note in open_dataset("ucsd_ped2", repacked).notes if "your own" in note]
    with pytest.raises(DataError, match="looks like ucsd_ped2"):
        open_dataset("ucsd_ped1", repacked)


def test_videos_of_ones_own_under_a_published_name_are_refused_by_their_names(root):
    for part in ("training", "testing"):
        (root / part / "frames" / "01").rename(root / part / "frames" / "cam_a")
        (root / part / "frames" / "02").rename(root / part / "frames" / "cam_b")
    with pytest.raises(DataError, match=r"none of the 28 videos of ucsd_ped2.*data\.name=folder"):
        open_dataset("ucsd_ped2", root)


def test_videos_of_ones_own_that_are_called_alike_are_noticed(root):
    first = open_dataset("ucsd_ped2", root).notes[0]
    assert first.startswith("of the 28 videos of ucsd_ped2 0 are here with their names and lengths")
    assert "data.name=folder" in first


@pytest.mark.parametrize("name", ["folder", "ucsd_ped2", "avenue", "shanghaitech"])
@pytest.mark.parametrize("case", ["Training", "TESTING", "both"])
def test_a_folder_in_another_case_is_named_with_its_right_one(root, name, case):
    for part in ("training", "testing"):
        if case == "both" or case.casefold() == part:
            (root / part).rename(root / part.capitalize())
    with pytest.raises(DataError, match=r"T\w+: rename it to (training|testing), names"):
        open_dataset(name, root)


@pytest.mark.parametrize("entry", ["training/Frames", "Labels.csv", "Masks"])
def test_relatives_in_another_case_are_named_too(root, entry):
    place = root / entry
    (place.parent / place.name.lower()).touch()
    (place.parent / place.name.lower()).rename(place)
    with pytest.raises(DataError, match=f"{place.name}: rename it to {place.name.lower()}"):
        open_dataset("folder", root)


def test_pointers_instead_of_pictures_are_one_line(root, command):
    for path in root.rglob("*.png"):
        path.write_bytes(POINTER)
    done = command("--data=folder", f"--root={root}", "--check")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "000.png is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`" in line
    assert "4 of 4 videos" in line


@pytest.mark.parametrize("name", ["labels.npy", "gt.mat", "gt.m", "labels.csv"])
def test_labels_that_are_pointers_or_pages_are_called_so(root, name):
    (root / "labels.npy").unlink()
    (root / name).write_bytes(POINTER)
    assert f"{name} is a Git LFS pointer" in said(examined(root))
    (root / name).write_bytes(b"<!DOCTYPE html><html>")
    assert f"{name} is a web page" in said(examined(root))


def test_a_pickle_that_is_called_json_is_called_a_pickle(root, tmp_path):
    (tmp_path / "gt.json").write_bytes(b"\x80\x03]q\x00.")
    assert "gt.json is no plain array of numbers or text but a pickle" in said(
        examined(root, labels=tmp_path / "gt.json")
    )


JUNK = (
    *("readme.txt", "README", "README.md", "LICENSE", "licence.pdf", "Thumbs.db", "thumbs.db"),
    *(".DS_Store", "._01.txt", "desktop.ini", "Icon\r", "notes.txt", "track.txt~"),
)


def test_texts_and_junk_beside_any_truth_are_no_fault(root):
    (root / "labels").mkdir()
    (root / "tracks").mkdir()
    for name, labels in TRUTH.items():
        np.save(root / "labels" / f"{name}.npy", np.array(labels, np.uint8))
        rows = [f"0,{at},1,2,3,4" for at in np.flatnonzero(labels)]
        (root / "tracks" / f"{name}.txt").write_text("\n".join(rows))
    folders = ("", "tracks", "labels", "masks", "masks/01", "testing/frames", "testing/frames/01")
    for folder in folders:
        for name in JUNK:
            (root / folder / name).write_text("tracks of ShanghaiTech, see the paper\n")
    (root / "__MACOSX" / "testing").mkdir(parents=True)
    found = examined(root)
    assert found.right, said(found)
    unknown = [note for note in found.dataset.notes if "unknown" in note]
    assert unknown == ["unknown in testing/frames/01: notes.txt"]
    (root / "tracks" / "03.txt").write_text("0,1,1,2,3,4\n")
    assert "tracks knows 03, unknown here" in said(examined(root))


@pytest.mark.parametrize("name", ["license.avi", "readme01.mp4"])
def test_a_film_whose_name_begins_like_a_text_is_a_film(tmp_path, name):
    films.write(tmp_path / name)
    assert len(open_dataset("folder", tmp_path).testing) == 1


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_of_videos_labels_and_masks_may_be_written_in_two_ways(root, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    name, truth = (unicodedata.normalize(f, "Straße_ö") for f in (form, other))
    for part in ("training", "testing"):
        (root / part / "frames" / "02").rename(root / part / "frames" / name)
    (root / "masks" / "02").rename(root / "masks" / truth)
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerows([("video", "start", "end"), ("01", 1, 3), ("01", 5, 6), (truth, 2, 4)])
    found = examined(root, None)
    assert found.right, said(found)
    assert [row.masks for row in found.rows if row.split == "test"] == [6, 6]
    for labels in found.labels.values():
        assert np.array_equal(np.concatenate(list(labels.values())), JOINED)
    assert [row.video for row in found.rows][1] == unicodedata.normalize("NFC", name)


def test_two_videos_that_differ_in_the_writing_of_accents_alone_are_refused(root):
    for form in ("NFC", "NFD"):
        write_frames(root / "testing" / "frames" / unicodedata.normalize(form, "é"), 2)
    with pytest.raises(DataError, match="two videos of one name"):
        open_dataset("folder", root)


def test_labels_in_seconds_go_by_each_frames_own_time(tmp_path):
    (tmp_path / "testing").mkdir()
    film = films.write(tmp_path / "testing" / "a.mp4", frames=140, fps=17.5)
    unit = films.units_a_second(film)
    films.with_times(film, [unit // 5] * 20 + [unit // 30] * 120)
    (tmp_path / "labels.csv").write_text("video,start,end,class\na,5.0s,6.0s,run\n")
    found = check("folder", tmp_path, progress=False)
    assert np.flatnonzero(found.labels["labels.csv"]["a"]).tolist() == list(range(50, 80))
    ((start, end, kind),) = found.dataset.events["a"]
    assert (start, end, kind) == (50, 80, "run")


def test_labels_in_seconds_of_frames_in_a_folder_need_a_rate(root, command):
    (root / "labels.csv").write_text("video,start,end\n01,0.1s,0.3s\n01,0.5s,0.6s\n02,0.2s,0.4s\n")
    given = ("--data=folder", f"--root={root}", "--check")
    done = command(*given)
    assert done.returncode == 2
    assert "gives a time, 0.1s, but 01 has no frame rate. Write frames, or say" in done.stdout
    assert command(*given, "--fps=10").returncode == 0


def test_repacked_avenue_with_labels_of_the_masks_has_intervals_beside(tmp_path):
    for part in ("training", "testing"):
        for name in TRUTH:
            write_frames(tmp_path / part / "frames" / name, 6)
    scipy.io.savemat(tmp_path / "avenue.mat", {n: np.int32([of]) for n, of in TRUTH.items()})
    np.save(tmp_path / "frame_labels_avenue.npy", np.ones((1, 12), np.int8))
    assert open_dataset("avenue", tmp_path, labels="intervals").labels.suffix == ".npy"
    assert open_dataset("avenue", tmp_path, labels="masks").labels.name == "avenue.mat"


def test_the_first_frame_alone_is_looked_at_before_all_are_decoded(root):
    frame(root, 3).write_bytes(POINTER)
    assert not examined(root).right

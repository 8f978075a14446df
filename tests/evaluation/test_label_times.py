"""Labels in seconds: the frames that were seen then."""

import unicodedata

import numpy as np
import pytest

from vad_jax.evaluation import read_labels
from vad_jax.types import DataError

SLOW_THEN_FAST = np.concatenate([np.arange(20) / 5, 4 + np.arange(120) / 30])


def frames_of(folder, rows, times, **options):
    """The frames that a table marks in a film with such times."""
    rows = "".join(f"film,{start},{end}\n" for start, end in rows)
    (folder / "labels.csv").write_text(f"video,start,end\n{rows}")
    found = read_labels(folder, {"film": len(times)}, times={"film": times}, **options)
    return np.flatnonzero(found.values["film"]).tolist()


def test_a_rate_that_varies_is_no_average(tmp_path):
    assert frames_of(tmp_path, [("5.0s", "6.0s")], SLOW_THEN_FAST) == list(range(50, 80))
    assert frames_of(tmp_path, [("1s", "2s"), ("7.9s", "8s")], SLOW_THEN_FAST) == [
        *range(5, 10),
        *range(137, 140),
    ]


def test_times_of_the_film_go_before_a_rate(tmp_path):
    given = {"fps": {"film": 17.5}}
    assert frames_of(tmp_path, [("5s", "6s")], SLOW_THEN_FAST, **given) == list(range(50, 80))


def test_times_that_a_container_has_rounded_are_the_same_frames(tmp_path):
    rounded = np.round(SLOW_THEN_FAST, 3)
    for start in (4.0, 4.1, 5.0, 6.2):
        row = [(f"{start}s", f"{start + 1}s")]
        assert frames_of(tmp_path, row, rounded) == frames_of(tmp_path, row, SLOW_THEN_FAST)


def test_a_constant_rate_says_what_the_number_of_frames_a_second_says(tmp_path):
    times = np.arange(200) / 25
    rows = [("0.99s", "1.51s"), ("6s", "8s")]
    (tmp_path / "labels.csv").write_text("video,start,end\nfilm,0.99s,1.51s\nfilm,6s,8s\n")
    by_rate = read_labels(tmp_path, {"film": 200}, fps={"film": 25.0}).values["film"]
    assert frames_of(tmp_path, rows, times) == np.flatnonzero(by_rate).tolist()


def test_a_gap_in_the_times_belongs_to_the_frame_that_is_seen_nearest(tmp_path):
    times = np.array([0.0, 0.1, 0.2, 9.8, 9.9])
    assert frames_of(tmp_path, [("0.1s", "9s")], times) == [1, 2]


def test_a_time_after_the_end_names_both(tmp_path):
    with pytest.raises(DataError, match=r"line 2 gives the time 9s, but film ends at 8\.000 s"):
        frames_of(tmp_path, [("7s", "9s")], SLOW_THEN_FAST)


def test_frames_without_times_need_a_rate(tmp_path):
    (tmp_path / "labels.csv").write_text("video,start,end\nfilm,1s,2s\n")
    with pytest.raises(DataError, match=r"1s, but film has no frame rate.*--fps"):
        read_labels(tmp_path, {"film": 50}, times={})
    with pytest.raises(DataError, match="no frame rate"):
        read_labels(tmp_path, {"film": 50})


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_labels_and_videos_may_write_their_accents_in_two_ways(tmp_path, forms):
    in_table, of_video = (unicodedata.normalize(form, "café") for form in forms)
    (tmp_path / "labels.csv").write_text(f"video,start,end\n{in_table},1,3\n")
    assert read_labels(tmp_path, {of_video: 4}).values[of_video].tolist() == [0, 1, 1, 0]
    (tmp_path / "labels.csv").unlink()
    np.save(tmp_path / f"{in_table}.npy", np.array([0, 1, 1, 0]))
    assert read_labels(tmp_path, {of_video: 4}).values[of_video].tolist() == [0, 1, 1, 0]
    (tmp_path / f"{in_table}.npy").unlink()
    (tmp_path / f"{in_table}.txt").write_text("0,1,1,1,2,2\n0,2,1,1,2,2\n")
    assert read_labels(tmp_path, {of_video: 4}).values[of_video].tolist() == [0, 1, 1, 0]

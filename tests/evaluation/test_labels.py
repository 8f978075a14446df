"""Labels in every form they come in, and what is said of those that cannot be used."""

import pickle

import cv2
import numpy as np
import pytest
import scipy.io

from vad_jax.evaluation import read_labels, read_masks
from vad_jax.types import DataError

LENGTHS = {"Test001": 6, "Test002": 4, "Test003": 5}
TRUTH = {
    "Test001": [0, 1, 1, 0, 1, 0],
    "Test002": [0, 0, 0, 0],
    "Test003": [1, 1, 1, 1, 1],
}
JOINED = np.concatenate(list(TRUTH.values()))
RANGES = {"Test001": [(2, 3), (5, 5)], "Test002": [], "Test003": [(1, 5)]}  # 1-based, inclusive


def cells(transposed=False):
    found = np.empty((1, len(RANGES)), object)
    for i, ranges in enumerate(RANGES.values()):
        intervals = np.array(ranges, np.uint8).reshape(-1, 2)
        found[0, i] = intervals if transposed else intervals.T
    return found


def as_m(folder):
    lines = ["TestVideoFile = {};"]
    lines += [f"TestVideoFile{{end+1}}.gt_frame = [{text}];" for text in ("2:3, 5", "", " 1 : 5 ")]
    (folder / "UCSDped9.m").write_text("\n".join(lines))
    return folder / "UCSDped9.m"


def as_mat(folder):
    scipy.io.savemat(folder / "set.mat", {"gt": cells()})
    return folder / "set.mat"


def as_transposed_mat(folder):
    scipy.io.savemat(folder / "set.mat", {"gt": cells(transposed=True)})
    return folder / "set.mat"


def as_squeezed_mat(folder):
    squeezed = cells()[0]
    for i, cell in enumerate(squeezed):
        squeezed[i] = cell.squeeze()
    scipy.io.savemat(folder / "set.mat", {"gt": squeezed})
    return folder / "set.mat"


def as_vectors_mat(folder):
    scipy.io.savemat(folder / "set.mat", {name: np.int32([v]) for name, v in TRUTH.items()})
    return folder / "set.mat"


def as_array(folder):
    np.save(folder / "labels.npy", JOINED)
    return folder / "labels.npy"


def as_row(folder):
    np.save(folder / "frame_labels_set.npy", JOINED[None].astype(np.float64))
    return folder / "frame_labels_set.npy"


def as_arrays(folder):
    for name, labels in TRUTH.items():
        np.save(folder / f"{name}.npy", np.array(labels, bool))
    return folder


def as_arrays_below_labels(folder):
    (folder / "labels").mkdir()
    as_arrays(folder / "labels")
    return folder


def as_csv(folder):
    (folder / "labels.csv").write_text(
        "video,start,end,class\nTest001,1,3,run\nTest001,4,5,run\n\nTest003,0,5,fall\n"
    )
    return folder / "labels.csv"


def as_masks(folder, form="{video}/{frame:03d}.png"):
    for name, labels in TRUTH.items():
        for frame, label in enumerate(labels):
            mask = np.zeros((6, 8), np.uint8)
            mask[2, 3] = label  # 1 of 255 counts
            file = folder / form.format(video=name, frame=frame)
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), mask)
    (file.parent / "._.DS_Store").write_text("junk")
    return folder


def as_official_masks(folder):
    return as_masks(folder, "{video}_gt/frame{frame:03d}.bmp")


FORMS = [
    as_m,
    as_mat,
    as_transposed_mat,
    as_squeezed_mat,
    as_vectors_mat,
    as_array,
    as_row,
    as_arrays,
    as_arrays_below_labels,
    as_csv,
    as_masks,
    as_official_masks,
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_says_the_same(form, tmp_path):
    found = read_labels(form(tmp_path), LENGTHS)
    assert {name: labels.tolist() for name, labels in found.values.items()} == TRUTH
    assert list(found.values) == list(LENGTHS)
    assert {labels.dtype for labels in found.values.values()} == {np.dtype(np.uint8)}
    (tmp_path / "other").mkdir()
    assert found.digest == read_labels(as_array(tmp_path / "other"), LENGTHS).digest


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_folder_is_searched_for_what_it_holds(form, tmp_path):
    form(tmp_path)
    assert read_labels(tmp_path, LENGTHS).values["Test001"].tolist() == TRUTH["Test001"]


def test_cells_of_one_shape_that_were_stacked_are_taken_apart(tmp_path):
    lengths = {"01": 300, "02": 300, "03": 300}
    for stacked in (np.array([[2, 3], [1, 5], [4, 255]]), np.array([[2, 1, 4], [3, 5, 255]])):
        scipy.io.savemat(tmp_path / "set.mat", {"gt": stacked.astype(np.uint8)})
        found = read_labels(tmp_path / "set.mat", lengths).values
        assert [int(labels.sum()) for labels in found.values()] == [2, 5, 252]


def test_intervals_are_read_by_the_only_order_that_fits(tmp_path):
    gt = np.empty((1, 1), object)
    gt[0, 0] = np.array([[5, 90], [140, 200]], np.uint8)  # [2, k] would overlap: 5–140, 90–200
    scipy.io.savemat(tmp_path / "set.mat", {"gt": gt})
    labels = read_labels(tmp_path / "set.mat", {"01": 200}).values["01"]
    assert (labels.sum(), labels[90:139].sum()) == (86 + 61, 0)


def test_alpha_channel_is_no_anomaly(tmp_path):
    (tmp_path / "a").mkdir()
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[..., 3] = 255
    cv2.imwrite(str(tmp_path / "a" / "0.png"), mask)
    mask[0, 0, 0] = 1
    cv2.imwrite(str(tmp_path / "a" / "1.png"), mask)
    assert read_labels(tmp_path, {"a": 2}).values["a"].tolist() == [0, 1]


def test_masks_follow_the_numbers_in_their_names(tmp_path):
    (tmp_path / "a").mkdir()
    for number in (1, 2, 10):
        cv2.imwrite(str(tmp_path / "a" / f"{number}.png"), np.full((2, 2), number, np.uint8) // 10)
    assert [mask.any() for mask in read_masks(tmp_path, "a", 3)] == [False, False, True]


@pytest.mark.parametrize("names", ["abcdefgh", ["a2", "a10", "b1"], ["x1y9", "x2y1", "x10y0"]])
def test_masks_are_in_the_order_of_frames_of_their_names(tmp_path, names):
    (tmp_path / "v").mkdir()
    for place, name in reversed(list(enumerate(names))):
        cv2.imwrite(str(tmp_path / "v" / f"{name}.png"), np.full((2, 2), place == 1, np.uint8))
    found = [mask.any() for mask in read_masks(tmp_path, "v", len(names))]
    assert found == [place == 1 for place in range(len(names))]


def test_digest_knows_names_and_labels(tmp_path):
    digest = read_labels(as_array(tmp_path), LENGTHS).digest
    renamed = read_labels(tmp_path / "labels.npy", {"a": 6, "b": 4, "c": 5}).digest
    reparted = read_labels(tmp_path / "labels.npy", {"Test001": 5, "Test002": 5, "Test003": 5})
    np.save(tmp_path / "flipped.npy", 1 - JOINED)
    flipped = read_labels(tmp_path / "flipped.npy", LENGTHS).digest
    assert len({digest, renamed, reparted.digest, flipped}) == 4


def test_times_become_frames_by_the_videos_rate(tmp_path):
    (tmp_path / "labels.csv").write_text("video,start,end\nTest001,0.2s,0.5s\n")
    found = read_labels(tmp_path, LENGTHS, fps={"Test001": 10.0})
    assert found.values["Test001"].tolist() == [0, 0, 1, 1, 1, 0]


def test_labels_of_wrong_length_name_the_video_and_both_lengths(tmp_path):
    np.save(tmp_path / "Test004.npy", np.zeros(179))
    with pytest.raises(
        DataError,
        match=r"Test004 has 180 frames but 179 labels \(.*Test004\.npy\)\. Labels count every "
        r"frame of the raw video: check .* data\.labels\.",
    ):
        read_labels(tmp_path, {"Test004": 180})


@pytest.mark.parametrize(("length", "where"), [(14, "Test003"), (8, "Test002"), (16, "Test003")])
def test_one_array_of_wrong_length_names_where_it_parts(tmp_path, length, where):
    np.save(tmp_path / "labels.npy", np.zeros(length))
    with pytest.raises(DataError, match=rf"{length} labels.* 15 frames together.* in {where} "):
        read_labels(tmp_path / "labels.npy", LENGTHS)


def test_pickles_are_refused_and_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    np.save(tmp_path / "labels.npy", np.array([Trap()], object), allow_pickle=True)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "archive.npz", JOINED)
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    for name in ("labels.npy", "raw.npy", "archive.npy"):
        with pytest.raises(DataError, match=rf"{name} is no plain array"):
            read_labels(tmp_path / name, LENGTHS)


@pytest.mark.parametrize("value", [2, -1, 0.5, np.nan])
def test_values_other_than_0_and_1_are_named(tmp_path, value):
    labels = JOINED.astype(np.float64)
    labels[7] = value
    np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(DataError, match=rf"label {np.float64(value)} at position 7"):
        read_labels(tmp_path, LENGTHS)


def test_video_without_labels_is_named(tmp_path):
    as_arrays(tmp_path)
    (tmp_path / "Test002.npy").unlink()
    with pytest.raises(DataError, match="no labels of Test002"):
        read_labels(tmp_path, LENGTHS)


def test_video_without_masks_is_named(tmp_path):
    with pytest.raises(DataError, match="no labels of Test004"):
        read_labels(as_masks(tmp_path), LENGTHS | {"Test004": 3})


def test_missing_mask_is_counted(tmp_path):
    as_masks(tmp_path)
    (tmp_path / "Test003" / "002.png").unlink()
    with pytest.raises(DataError, match="Test003 has 5 frames but 4 masks"):
        read_labels(tmp_path, LENGTHS)


def test_damaged_mask_is_named(tmp_path):
    as_masks(tmp_path)
    (tmp_path / "Test003" / "002.png").write_text("no image")
    with pytest.raises(DataError, match=r"002\.png cannot be read"):
        read_labels(tmp_path, LENGTHS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Test009,0,1", "line 2 labels 'Test009', which is no test video"),
        ("Test001,0,7", "frames 0 to 7 .* of Test001, which has 6 frames"),
        ("Test001,3,3", "start < end"),
        ("Test001,0,1.5", "'1.5': write a frame, or a time"),
        ("Test001,-1,2", "'-1'"),
        ("Test001,0s,0.5s", "gives a time, 0s, but Test001 has no frame rate"),
        ("Test001,0", "2 fields, its header 3"),
    ],
)
def test_bad_row_of_a_csv_is_named(tmp_path, line, said):
    (tmp_path / "labels.csv").write_text(f"video,start,end\n{line}\n")
    with pytest.raises(DataError, match=said):
        read_labels(tmp_path, LENGTHS)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("labels.csv", b"video,start,end\nTest001,1,\xff\n", r"byte 26 is 0xff\. Save it as UTF-8"),
        ("labels.csv", "video,start,end\n".encode("utf-16"), "no text in UTF-8"),
        ("labels.csv", b"video,start,end\n" + b"0" * 200_000 + b",1,3", "no table of commas"),
        ("labels.csv", b"video,start,end\nTest001,1," + b"9" * 5_000, "line 2 has '999"),
        (
            "set.m",
            b"T{end+1}.gt_frame = [1:" + b"9" * 5_000 + b"]\nT{end+1}.gt_frame = [1]" * 2,
            "line 1",
        ),
        ("Temporal_Anomaly_Annotation.txt", b"\xff", "no text in UTF-8"),
    ],
)
def test_texts_that_cannot_be_read_are_named(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}.*{said}"):
        read_labels(tmp_path, LENGTHS)


def test_tracks_that_are_no_text_are_named(tmp_path):
    for name in LENGTHS:
        (tmp_path / f"{name}.txt").write_bytes(b"0,1,\xe9")
    with pytest.raises(DataError, match=r"Test001\.txt is no text in UTF-8"):
        read_labels(tmp_path, LENGTHS)


def test_csv_without_its_header_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("Test001,0,3\n")
    with pytest.raises(DataError, match="header `video,start,end`"):
        read_labels(tmp_path, LENGTHS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1:7]", "frames 1 to 7 .* of Test001, which has 6 frames"),
        ("[0:3]", "frames 0 to 3"),
        ("[4:2]", "frames 4 to 2"),
        ("[1:end]", "line 2 has '1:end'"),
        ("system('rm')", "line 2 reads"),
    ],
)
def test_bad_line_of_an_m_file_is_named(tmp_path, line, said):
    rest = "\nTestVideoFile{end+1}.gt_frame = [1];" * 2
    text = f"TestVideoFile = {{}};\nTestVideoFile{{end+1}}.gt_frame = {line};{rest}"
    (tmp_path / "set.m").write_text(text)
    with pytest.raises(DataError, match=said):
        read_labels(tmp_path / "set.m", LENGTHS)


def test_m_files_may_have_any_spaces_and_a_mark_of_their_code(tmp_path):
    lines = [
        "TestVideoFile = { } ;",
        *["TestVideoFile { end + 1 } . gt_frame = [ 1 : 2 , 4 ] ; % é"] * 3,
    ]
    for ending in ("\r\n", "\r", "\n"):
        (tmp_path / "set.m").write_bytes(ending.join(lines).encode("utf-8-sig"))
        found = read_labels(tmp_path / "set.m", LENGTHS).values
        assert found["Test003"].tolist()[:4] == [1, 1, 0, 1]


def test_m_file_of_another_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="labels 3 videos, but the test set has 2"):
        read_labels(as_m(tmp_path), {"a": 6, "b": 5})


def test_intervals_beyond_the_video_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"frames 1 to 5 .* of Test003, which has 4 frames"):
        read_labels(as_mat(tmp_path), LENGTHS | {"Test003": 4})


def test_mat_file_of_another_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="labels 3 videos in `gt`, but the test set has 2"):
        read_labels(as_mat(tmp_path), {"a": 6, "b": 5})


@pytest.mark.parametrize("content", [[[1e300], [1e301]], [[np.inf], [np.inf]], [[np.nan], [2]]])
def test_intervals_that_are_no_frames_are_refused(tmp_path, content):
    scipy.io.savemat(tmp_path / "set.mat", {"gt": boxed(np.array(content), *[[[1], [2]]] * 2)})
    with pytest.raises(DataError, match=r"a cell of shape \(2, 1\) for Test001. Expected whole"):
        read_labels(tmp_path, LENGTHS)


def boxed(*values):
    found = np.empty((1, len(values)), object)
    for at, value in enumerate(values):
        found[0, at] = value
    return found


def test_cells_within_cells_are_unwrapped_where_each_holds_one(tmp_path):
    one = np.array([[1], [2]])
    scipy.io.savemat(tmp_path / "set.mat", {"gt": boxed(boxed(one), boxed(boxed(one)), one)})
    found = read_labels(tmp_path, LENGTHS).values
    assert [labels.sum() for labels in found.values()] == [2, 2, 2]
    scipy.io.savemat(tmp_path / "set.mat", {"gt": boxed(boxed(one), boxed(one, one), one)})
    with pytest.raises(DataError, match="a cell for Test002 that holds no numbers"):
        read_labels(tmp_path, LENGTHS)


def test_damaged_mat_file_is_named(tmp_path):
    (tmp_path / "set.mat").write_text("no matlab")
    with pytest.raises(DataError, match=r"set\.mat is no MATLAB file"):
        read_labels(tmp_path, LENGTHS)


def test_editor_copies_are_not_labels(tmp_path):
    as_m(tmp_path).rename(tmp_path / "UCSDped9.m~")
    with pytest.raises(DataError, match="holds no labels"):
        read_labels(tmp_path, LENGTHS)


def test_two_candidates_are_not_chosen_between(tmp_path):
    as_m(tmp_path)
    (tmp_path / "other.m").write_text("")
    with pytest.raises(DataError, match=r"UCSDped9\.m, other\.m\. Choose one"):
        read_labels(tmp_path, LENGTHS)


@pytest.mark.parametrize("name", ["nothing", "labels.txt"])
def test_what_is_not_there_or_not_known_is_named(tmp_path, name):
    (tmp_path / "labels.txt").write_text("")
    with pytest.raises(DataError, match=name):
        read_labels(tmp_path / name, LENGTHS)


def test_all_four_sources_of_ped2_agree(ped2_root):
    frames = ped2_root / "testing" / "frames"
    lengths = {v.name: len(list(v.glob("*.jpg"))) for v in sorted(frames.iterdir())}
    sources = ("labels/UCSDped2.m", "labels/ped2.mat", "labels/frame_labels_ped2.npy")
    found = [read_labels(ped2_root / source, lengths) for source in (*sources, "testing/masks")]
    assert len({labels.digest for labels in found}) == 1
    assert sum(len(labels) for labels in found[0].values.values()) == 2010
    assert sum(int(labels.sum()) for labels in found[0].values.values()) == 1648

"""CUHK Avenue in both layouts, its two kinds of truth, and what is said of what is missing."""

import cv2
import numpy as np
import pytest
import scipy.io
from support import films

from vad_jax import config as configs
from vad_jax.data import windows
from vad_jax.data.grey import grey_frames
from vad_jax.datasets import open_dataset, splits, truths
from vad_jax.datasets.raw import avenue
from vad_jax.evaluation import read_labels, read_masks
from vad_jax.runs.observing import mean_frame
from vad_jax.types import ConfigError, DataError, InputSpec

LENGTHS = {"01": 6, "02": 4, "10": 5}
MASKED = {"01": [0, 1, 1, 0, 0, 1], "02": [0, 0, 0, 0], "10": [1, 1, 0, 0, 0]}
BRIDGED = {"01": [0, 1, 1, 1, 1, 1], "02": [0, 0, 0, 0], "10": [1, 1, 0, 0, 0]}
INTERVALS = {"01": [(2, 6)], "02": [], "10": [(1, 2)]}  # 1-based, inclusive
SIZE = (12, 16)


def masks_of(labels):
    """A cell of masks `[1, T]`, as the archive holds it."""
    cell = np.empty((1, len(labels)), object)
    for frame, label in enumerate(labels):
        cell[0, frame] = np.zeros(SIZE, np.uint8)
        cell[0, frame][3, 5] = label
    return cell


def write_masks(folder, *, squeezed=False):
    folder.mkdir(parents=True)
    for name, labels in MASKED.items():
        cell = masks_of(labels)
        cell = cell[0] if squeezed else cell
        scipy.io.savemat(folder / f"{int(name)}_label.mat", {"volLabel": cell})
    return folder


def write_intervals(folder):
    cells = np.empty((1, len(INTERVALS)), object)
    for i, ranges in enumerate(INTERVALS.values()):
        cells[0, i] = np.array(ranges, np.uint16).reshape(-1, 2).T
    scipy.io.savemat(folder / "avenue.mat", {"gt": cells})


def write_frames(folder, frames, *, digits=4):
    folder.mkdir(parents=True)
    for number in range(frames):
        frame = np.full((*SIZE, 3), (10, 20, 30 + number), np.uint8)
        assert cv2.imwrite(str(folder / f"{number:0{digits}d}.jpg"), frame)


@pytest.fixture
def official(tmp_path):
    root = tmp_path / "Avenue Dataset"
    for part in ("training_videos", "testing_videos", "training_vol", "testing_vol"):
        (root / part).mkdir(parents=True)
    for name, frames in LENGTHS.items():
        films.write(root / "training_videos" / f"{name}.avi", frames=3)
        films.write(root / "testing_videos" / f"{name}.avi", frames=frames)
    scipy.io.savemat(root / "testing_vol" / "vol01.mat", {"vol": np.zeros((2, 2, 2))})
    (root / "testing_videos" / "._01.avi").write_bytes(b"junk")
    write_masks(root / "ground_truth_demo" / "testing_label_mask")
    return root


@pytest.fixture
def repacked(tmp_path):
    root = tmp_path / "avenue"
    for name, frames in LENGTHS.items():
        write_frames(root / "training" / "frames" / name, 2, digits=3)
        write_frames(root / "testing" / "frames" / name, frames)
    write_intervals(root)
    return root


def names(sources):
    return [source.name for source in sources]


def as_lists(labels):
    return {name: values.tolist() for name, values in labels.values.items()}


def test_the_official_layout_is_found_from_the_folder_and_from_its_parent(official):
    for root in (official, official.parent):
        dataset = open_dataset("avenue", root)
        assert (dataset.layout, dataset.root, dataset.fps) == ("official", official, 25.0)
        assert names(dataset.testing) == names(dataset.training) == ["01", "02", "10"]
        assert dataset.testing[0].file == official / "testing_videos" / "01.avi"
        assert dataset.ignored == 1


def test_the_repacked_layout_takes_names_of_three_or_four_digits(repacked):
    dataset = open_dataset("avenue", repacked.parent)
    assert (dataset.layout, dataset.root) == ("repacked", repacked)
    assert [path.name for path in dataset.testing[1].images][:2] == ["0000.jpg", "0001.jpg"]
    assert [path.name for path in dataset.training[1].images] == ["000.jpg", "001.jpg"]


def test_counts_of_the_page_are_the_sums_of_its_table():
    known = avenue.published()
    assert (known.training.videos, known.training.frames) == (16, 15_328)
    assert (known.testing.videos, known.testing.frames) == (21, 15_324)
    assert sum(known.anomalous["masks"].values()) == 3_712
    assert sum(known.anomalous["labels"].values()) == 3_867
    assert len(known.remarks) == 5
    assert "data.exclude=hf2vad" in known.remarks[-1]


def test_names_alone_say_what_is_missing(repacked):
    notes = open_dataset("avenue", repacked).notes
    assert "training: 3 videos, 16 published" in notes
    assert "testing: 3 videos, 21 published" in notes
    assert "testing 01: 6 frames, 1439 published, first missing 0006.jpg" in notes


def test_masks_are_the_truth_where_they_are_there(official):
    write_intervals(official)
    dataset = open_dataset("avenue", official)
    assert dataset.labels == dataset.masks == official / "ground_truth_demo" / "testing_label_mask"
    assert as_lists(read_labels(dataset.labels, LENGTHS)) == MASKED
    assert open_dataset("avenue", official, labels="masks").labels == dataset.masks


def test_intervals_are_taken_where_they_are_asked_for_or_alone(official, repacked):
    write_intervals(official)
    dataset = open_dataset("avenue", official, labels="intervals")
    assert dataset.labels == official / "avenue.mat"
    assert as_lists(read_labels(dataset.labels, LENGTHS)) == BRIDGED
    assert open_dataset("avenue", repacked).labels == repacked / "avenue.mat"


def test_a_source_that_is_asked_for_must_be_there(official, repacked):
    with pytest.raises(DataError, match=r"has no intervals: looked for avenue\.mat"):
        open_dataset("avenue", official, labels="intervals")
    with pytest.raises(DataError, match="has no masks: looked for ground_truth_demo"):
        open_dataset("avenue", repacked, labels="masks")


def vectors(folder, labels):
    """The later repack: `avenue.mat` with a vector a video."""
    scipy.io.savemat(folder / "avenue.mat", {name: np.int32([of]) for name, of in labels.items()})


def test_intervals_are_no_repacked_labels_of_the_masks(repacked):
    vectors(repacked, MASKED)
    with pytest.raises(
        DataError, match=r"has no intervals: .*; avenue\.mat holds the other kind\."
    ):
        open_dataset("avenue", repacked, labels="intervals")
    array = repacked / "frame_labels_avenue.npy"
    np.save(array, np.int8([np.concatenate(list(BRIDGED.values()))]))
    dataset = open_dataset("avenue", repacked, labels="intervals")
    assert dataset.labels == array
    assert as_lists(read_labels(dataset.labels, LENGTHS)) == BRIDGED
    dataset = open_dataset("avenue", repacked, labels="masks")
    assert dataset.labels == repacked / "avenue.mat"
    assert as_lists(read_labels(dataset.labels, LENGTHS)) == MASKED


@pytest.mark.parametrize(("column", "source"), [(1, "masks"), (2, "intervals")])
def test_whole_labels_frame_by_frame_are_known_by_their_number(tmp_path, column, source):
    counts = [(video[0], video[column]) for video in avenue.TESTING]
    labels = {
        f"{number:02d}": np.repeat([0, 1], [frames - anomalous, anomalous])
        for number, (frames, anomalous) in enumerate(counts, 1)
    }
    vectors(tmp_path, labels)
    np.save(tmp_path / "frame_labels_avenue.npy", np.concatenate(list(labels.values())))
    for name in ("avenue.mat", "frame_labels_avenue.npy"):
        assert avenue.frame_labels_of(tmp_path / name) == source


def test_masks_may_lie_beside_the_repacked_frames(repacked):
    folder = write_masks(repacked.parent / "ground_truth_demo" / "testing_label_mask")
    assert open_dataset("avenue", repacked).labels == folder


def test_every_source_is_found_the_used_one_first(repacked):
    np.save(repacked / "frame_labels_avenue.npy", np.zeros((1, 15), np.int8))
    folder = write_masks(repacked / "ground_truth_demo" / "testing_label_mask")
    found = [(truth.kind, truth.path.name) for truth in truths(open_dataset("avenue", repacked))]
    labels = [("labels", "avenue.mat"), ("labels", "frame_labels_avenue.npy")]
    assert found == [("masks", folder.name), *labels]
    found = truths(open_dataset("avenue", repacked, labels="intervals"))
    assert [truth.kind for truth in found] == ["labels", "masks", "labels"]


@pytest.mark.parametrize("squeezed", [False, True])
def test_cells_of_masks_are_read_squeezed_or_not(tmp_path, squeezed):
    folder = write_masks(tmp_path / "testing_label_mask", squeezed=squeezed)
    assert as_lists(read_labels(folder, LENGTHS)) == MASKED
    masks = list(read_masks(folder, "10", 5))
    assert [mask.dtype == bool and mask.shape == SIZE for mask in masks] == [True] * 5
    assert np.argwhere(masks[0]).tolist() == [[3, 5]]


def test_cells_within_cells_are_unwrapped(tmp_path):
    cell = masks_of([1, 0])
    for frame in range(2):
        inner = np.empty((1, 1), object)
        inner[0, 0] = cell[0, frame]
        cell[0, frame] = inner
    scipy.io.savemat(tmp_path / "1_label.mat", {"volLabel": cell})
    assert [mask.any() for mask in read_masks(tmp_path, "01", 2)] == [True, False]


def test_vectors_under_the_names_of_videos_are_read(tmp_path):
    path = tmp_path / "avenue.mat"
    # scipy leaves out names that begin with a digit: written under letters, then renamed
    letters = {f"v{name}": np.int32([labels]) for name, labels in BRIDGED.items()}
    scipy.io.savemat(path, letters)
    data = path.read_bytes()
    for name in BRIDGED:
        data = data.replace(b"v" + name.encode(), name.encode() + b"\0")
    data = data.replace(b"\x01\x00\x03\x00", b"\x01\x00\x02\x00")  # the names' lengths
    path.write_bytes(data)
    assert [name for name, *_ in scipy.io.whosmat(path)] == list(BRIDGED)
    assert as_lists(read_labels(path, LENGTHS)) == BRIDGED


@pytest.mark.parametrize("shape", [(15,), (1, 15)])
def test_one_array_is_read_in_both_ranks(tmp_path, shape):
    joined = np.concatenate(list(BRIDGED.values())).astype(np.int8)
    np.save(tmp_path / "frame_labels_avenue.npy", joined.reshape(shape))
    assert as_lists(read_labels(tmp_path / "frame_labels_avenue.npy", LENGTHS)) == BRIDGED


def test_masks_of_another_number_are_counted(tmp_path):
    folder = write_masks(tmp_path / "testing_label_mask")
    with pytest.raises(DataError, match=r"10 has 6 frames but 5 masks \(.*10_label\.mat\)"):
        read_labels(folder, LENGTHS | {"10": 6})
    (folder / "2_label.mat").unlink()
    with pytest.raises(DataError, match=r"no labels of 02.*1_label\.mat"):
        read_labels(folder, LENGTHS)


def test_a_file_without_its_cell_names_what_it_holds(tmp_path):
    scipy.io.savemat(tmp_path / "1_label.mat", {"vol": np.zeros((2, 2))})
    with pytest.raises(DataError, match=r"1_label\.mat holds vol \(double\)\. .*`volLabel`"):
        list(read_masks(tmp_path, "01", 1))
    scipy.io.savemat(tmp_path / "1_label.mat", {"volLabel": np.zeros((1, *SIZE), np.uint8)})
    with pytest.raises(DataError, match=r"holds volLabel \(uint8\)\. Expected .*a cell"):
        list(read_masks(tmp_path, "01", 1))
    cell = masks_of([0, 1])
    cell[0, 1] = np.zeros((2, 2, 3), np.uint8)
    scipy.io.savemat(tmp_path / "1_label.mat", {"volLabel": cell})
    with pytest.raises(DataError, match=r"cell 2 holds uint8 of shape \(2, 2, 3\)"):
        list(read_masks(tmp_path, "01", 2))
    (tmp_path / "1_label.mat").write_bytes(b"no matlab")
    with pytest.raises(DataError, match=r"1_label\.mat is no MATLAB file"):
        list(read_masks(tmp_path, "01", 2))


def test_another_layout_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.docx").touch()
    with pytest.raises(DataError, match=r"Looked for training_videos/.*found notes\.docx"):
        open_dataset("avenue", tmp_path)
    (tmp_path / "testing_videos").mkdir()
    with pytest.raises(DataError, match=r"no video\. testing_videos/ holds nothing"):
        open_dataset("avenue", tmp_path)


# Training without its unclean frames

SPEC = InputSpec(
    frames=3, sees=(0, 1), target=2, scored=(2,), height=8, width=8, channels=3, colour="bgr"
)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """`config.data` of a repacked set with two training videos, in one of which a span is noted."""
    monkeypatch.setattr(avenue, "UNCLEAN", (("02", 4, 5, "running"), ("02", 9, 99, "running")))
    root = tmp_path / "avenue"
    write_frames(root / "training" / "frames" / "01", 6)
    write_frames(root / "training" / "frames" / "02", 10, digits=3)
    write_frames(root / "testing" / "frames" / "02", 10)
    settings = configs.defaults("mnad").data
    settings.update(name="avenue", root=str(root), cache=str(tmp_path / "cache"))
    return settings


def test_the_notes_name_483_frames_that_count_from_one():
    spans = avenue.unclean()
    assert spans == {
        "02": (range(310, 521), range(770, 831)),
        "04": (range(1459, 1510),),
        "07": (range(740, 900),),
    }
    assert sum(len(span) for ranges in spans.values() for span in ranges) == 483


def test_no_window_of_training_touches_a_frame_that_is_left_out(settings, caplog):
    def firsts():
        training, held_out = splits.training(splits.find(settings), settings, SPEC)
        videos = [*training, *held_out]
        return {v.name: windows.starts(SPEC, len(v), v.broken).tolist() for v in videos}

    assert firsts() == {"01": [0, 1, 2, 3], "02": [0, 1, 2, 3, 4, 5, 6, 7]}
    settings.exclude = "hf2vad"
    assert firsts() == {"01": [0, 1, 2, 3], "02": [0, 5]}
    assert "data.exclude=hf2vad leaves out frames of training: 4 of 10 in 02." in caplog.text
    settings.validation = ("02",)
    assert firsts()["02"] == [0, 5]
    (test,) = splits.testing(splits.find(settings), settings, SPEC)
    assert test.broken == ()


def test_the_control_of_the_mean_frame_does_without_them_too(settings):
    settings.exclude = "hf2vad"
    dataset = splits.find(settings)
    kept = [list(grey_frames(source)) for source in dataset.training]
    kept = [*kept[0], *(frame for i, frame in enumerate(kept[1]) if i not in (3, 4, 8, 9))]
    found = mean_frame(dataset, settings, SPEC)
    np.testing.assert_array_equal(found, np.mean(kept, axis=0, dtype=np.float64))
    settings.exclude = None
    assert splits.excluded(dataset, settings) == {}


def test_frames_to_leave_out_must_be_there(settings, monkeypatch):
    settings.exclude = "hf2vad"
    dataset = splits.find(settings)
    for video, first, said in (("02", 11, "but it has 10"), ("04", 3, "there is no such video")):
        monkeypatch.setattr(avenue, "UNCLEAN", ((video, first, 99, "running"),))
        with pytest.raises(DataError, match=f"video {video} from frame {first} on, .*{said}"):
            splits.training(dataset, settings, SPEC)


def test_other_sets_have_no_frames_to_leave_out(settings):
    settings.update(name="ucsd_ped2", exclude="hf2vad")
    with pytest.raises(ConfigError, match=r"'ucsd_ped2' has no such frames.*hf2vad of avenue"):
        splits.find(settings)


def test_an_exclusion_that_does_not_exist_is_refused():
    config = configs.defaults("mnad")
    config.data.exclude = "hf3vad"
    with pytest.raises(ConfigError, match=r"data\.exclude = 'hf3vad': must be one of hf2vad"):
        configs.complete(config)

"""Masks of a raw set: sizes, values, numbers, and what is said of each."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.raw_sets import KNOWN, SIZE, TRUTH, examined, row, said, write_frames, write_masks

from vad_jax.datasets import open_dataset, published
from vad_jax.datasets.raw.counts import Part
from vad_jax.runs.examining import examine


def test_masks_of_another_size_name_frame_and_sizes(root):
    cv2.imwrite(str(root / "masks" / "02" / "004.png"), np.zeros((6, 8), np.uint8))
    faults = row(examined(root), "02").faults
    assert len(faults) == 1
    assert faults[0].startswith("frame 4: the mask is 6x8 pixels, the frame 12x16")


def test_masks_of_more_than_two_values_name_frame_and_values(root):
    for number in range(6):
        (root / "masks" / "02" / f"{number:03d}.png").unlink()
    (root / "masks" / "02").rmdir()
    write_masks(root / "masks" / "02", TRUTH["02"], name="{:03d}.jpg")
    faults = row(examined(root), "02").faults
    assert any("frame 2: masks hold the values 0, 1, 2" in fault for fault in faults)
    assert any("JPEG blurs edges, and evaluation counts" in fault for fault in faults)


def test_masks_that_were_resized_are_not_called_jpeg(root):
    path = root / "masks" / "02" / "002.png"
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    mask[3, 5] = 96
    cv2.imwrite(str(path), mask)
    (fault,) = row(examined(root), "02").faults
    assert fault.startswith("frame 2: masks hold the values 0, 96, 255; they have two")
    assert "were they resized, or do they number things?" in fault
    assert "JPEG" not in fault


@pytest.mark.parametrize(
    ("masks", "what"),
    [
        (b"", "no whole array of masks, [F, H, W]: replace it"),
        (b"\x93NUMPY", "no whole array of masks, [F, H, W]: replace it"),
        (np.zeros((6, *SIZE, 3)), "no whole array of masks, [F, H, W]: replace it"),
        (np.array([None] * 6), "no plain array of numbers or text but a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
    ],
)
def test_an_array_that_holds_no_masks_is_named(root, masks, what):
    for path in (root / "masks" / "02").iterdir():
        path.unlink()
    path = root / "masks" / "02.npy"
    path.write_bytes(masks) if isinstance(masks, bytes) else np.save(path, masks, allow_pickle=True)
    (fault,) = row(examined(root), "02").faults
    assert fault.startswith(f"{path} is {what}")


def test_missing_masks_are_counted(root):
    (root / "masks" / "02" / "005.png").unlink()
    found = examined(root)
    assert (row(found, "02").masks, row(found, "02").verdict) == (5, "missing")
    assert [row(found, video).agreeing for video in TRUTH] == [(2, 2), (1, 2)]
    assert "6 frames but 5 masks" in said(found)
    for number in range(5):
        (root / "masks" / "02" / f"{number:03d}.png").unlink()
    assert "it has no masks in" in said(examined(root))


def test_masks_that_only_some_videos_are_known_to_have(root):
    for path in (root / "masks" / "02").iterdir():
        path.unlink()
    found = examined(root, replace(KNOWN, masked=("1",)))
    assert found.right
    assert [row.masks for row in found.rows if row.split == "test"] == [6, None]


def test_truth_folders_of_no_video_are_unknown(root):
    write_masks(root / "masks" / "05_gt", TRUTH["01"])
    assert "masks knows 05, unknown here" in said(examined(root))


def test_frames_beside_truth_folders_are_no_masks(tmp_path):
    """Ped1: 26 of its 36 test videos have no masks, only their frames in a folder of their name."""
    root = tmp_path / "UCSDped1"
    for name in TRUTH:
        write_frames(root / "Test" / f"Test0{name}", 6, name="{:03d}.tif")
    write_masks(root / "Test" / "Test001_gt", labels=TRUTH["01"], name="{:03d}.bmp")
    dataset = open_dataset("ucsd_ped1", root)
    assert published(dataset).masked[:2] == ("Test3", "Test4")
    known = replace(KNOWN, training=Part(0), testing=Part(2), masked=("Test1",), anomalous={})
    found = examine(dataset, known, progress=False)
    assert [row.masks for row in found.rows] == [6, None]

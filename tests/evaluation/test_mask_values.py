"""Masks have two values; what is done with those that have more."""

import cv2
import numpy as np
import pytest

from vad_jax.evaluation import read_labels, read_masks
from vad_jax.evaluation.truth.masks import blurred, mask_facts
from vad_jax.types import DataError

SHAPE = (48, 64)


def square(value=255, *, side=8):
    """A mask with one square of some value."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[13 : 13 + side, 21 : 21 + side] = value
    return mask


def write(folder, masks, *, suffix="png", options=()):
    (folder / "v").mkdir()
    for number, mask in enumerate(masks):
        path = folder / "v" / f"{number}.{suffix}"
        assert cv2.imwrite(str(path), mask, list(options))


def read(folder, length=2):
    return [int(mask.sum()) for mask in read_masks(folder, "v", length)]


@pytest.mark.parametrize("value", [1, 128, 255])
def test_two_values_are_exact_whichever_they_are(tmp_path, value):
    write(tmp_path, [square(0), square(value)])
    assert read(tmp_path) == [0, 64]
    assert not blurred(tmp_path, "v")


@pytest.mark.parametrize("quality", [60, 90, 95])
def test_a_jpeg_mask_has_the_pixels_that_its_maker_saw(tmp_path, quality):
    write(
        tmp_path,
        [square(0), square()],
        suffix="jpg",
        options=(cv2.IMWRITE_JPEG_QUALITY, quality),
    )
    raw = cv2.imread(str(tmp_path / "v" / "1.jpg"), cv2.IMREAD_GRAYSCALE)
    assert (raw != 0).sum() > 64
    assert read(tmp_path) == [0, 64]
    assert blurred(tmp_path, "v")
    assert read_labels(tmp_path, {"v": 2}).values["v"].tolist() == [0, 1]
    assert mask_facts(tmp_path, "v").blurred
    assert len(mask_facts(tmp_path, "v").values) > 2


def test_a_jpeg_mask_too_dark_to_tell_is_named(tmp_path):
    write(tmp_path, [square(0), square(60)], suffix="jpg")
    with pytest.raises(
        DataError, match=r"v \(.*v\), frame 1: the brightest pixel .* is 6\d of 255"
    ):
        read(tmp_path)


def test_a_resized_mask_is_refused_and_told_so(tmp_path):
    small = cv2.resize(square(), (32, 24), interpolation=cv2.INTER_AREA)
    write(tmp_path, [small, small])
    with pytest.raises(DataError, match=r"frame 0: masks hold 0, .*Were they resized"):
        read(tmp_path)


@pytest.mark.parametrize(
    "masks", [(square(1), square(2)), (square(1), square(1) + square(2, side=3))]
)
def test_numbered_things_are_refused_within_a_frame_and_over_frames(tmp_path, masks):
    write(tmp_path, masks)
    with pytest.raises(DataError, match=r"frame 1: masks hold 0, 1, [23].*number things"):
        read(tmp_path)
    assert read_labels(tmp_path, {"v": 2}).values["v"].tolist() == [1, 1]  # frames they can tell


def test_one_colour_is_one_value(tmp_path):
    orange = square()[..., None] // 255 * np.array([0, 128, 255], np.uint8)
    write(tmp_path, [np.zeros_like(orange), orange])
    assert read(tmp_path) == [0, 64]
    assert set(mask_facts(tmp_path, "v").values) == {0, 255}


def test_an_array_of_degrees_or_of_nothing_is_refused(tmp_path):
    for value, said in ((0.5, "masks hold 0,"), (np.nan, "the mask holds NaN")):
        masks = np.stack([square(0), square(1)]).astype(np.float32)
        masks[1, 14, 22] = value
        np.save(tmp_path / "v.npy", masks)
        with pytest.raises(DataError, match=rf"v\.npy\), frame 1: {said}"):
            read(tmp_path)


def test_grey_levels_of_an_empty_jpeg_mask_are_noise(tmp_path):
    write(tmp_path, [square(9), square()], suffix="jpg")
    assert read(tmp_path) == [0, 64]
    assert mask_facts(tmp_path, "v").labels.tolist() == [0, 1]

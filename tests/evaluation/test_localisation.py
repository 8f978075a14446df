"""Pixel, region and track figures of a whole set, put together from maps and masks."""

from functools import partial

import numpy as np
import pytest

from vad_jax.evaluation import (
    Mapped,
    localisation,
    pixel_auc,
    pixel_auc_40,
    region_criteria,
    tracks_from_masks,
)
from vad_jax.evaluation.certainty import share

SIZE = (32, 40)


def video(seed, *, length=12, masked=True, quality=2.0):
    """A square that wanders from the fourth frame on, and a map that sees it, more or less."""
    random = np.random.default_rng(seed)
    masks = np.zeros((length, *SIZE), bool)
    for frame in range(4, length):
        masks[frame, 8:16, frame : frame + 8] = True
    maps = (random.random((length, *SIZE)) + quality * masks).astype(np.float32)
    maps[:2] = np.nan
    its_masks = partial(iter, masks) if masked else None
    return Mapped(f"v{seed}", length, SIZE, partial(iter, maps), its_masks), masks, maps


@pytest.fixture(scope="module")
def found():
    made = [video(seed) for seed in range(6)] + [video(6, masked=False)]
    videos = [item[0] for item in made]
    return made, localisation(videos, threshold=1.0, replicates=200)


def test_the_figures_are_those_of_the_single_functions(found):
    made, (figures, detections) = found
    masked = made[:6]
    masks, maps = [item[1] for item in masked], [item[2] for item in masked]
    assert figures["pixel_auc_40"]["value"] == pixel_auc_40(masks, maps)
    assert figures["pixel_auc"]["value"] == pixel_auc(masks, maps)
    truth = [(v, *row) for v, own in enumerate(masks) for row in tracks_from_masks(own).tolist()]
    rows = zip(
        *(detections[name].tolist() for name in ("video", "frame", "box", "score")), strict=True
    )
    boxes = [(v, frame, *box, score) for v, frame, box, score in rows]
    expected = region_criteria(truth, boxes, 84)
    assert (figures["rbdc"]["value"], figures["tbdc"]["value"]) == expected[:2]
    assert figures["rbdc"]["value"] > 0.9


def test_intervals_hold_the_figures_and_say_how_they_were_made(found):
    _, (figures, _) = found
    for name in ("pixel_auc_40", "pixel_auc", "rbdc", "tbdc"):
        figure = figures[name]
        assert figure["low"] <= figure["value"] <= figure["high"], name
    assert figures["pixel_auc"]["replicates"] == 200
    assert figures["rbdc"]["replicates"] == 200
    assert figures["rbdc"]["tracks"] == "tracks derived from masks"
    assert figures["pixel_auc"]["videos"] == 6


def test_what_is_found_is_counted(found):
    regions = found[1][0]["regions"]
    assert (regions["regions"], regions["tracks"]) == (6 * 8, 6)
    assert regions["regions_found"] == 48
    assert regions["tracks_found"] == 6
    assert regions["curve"][0] == [0, 0, 0]
    assert regions["curve"][-1] == [pytest.approx(regions["false_per_frame"], rel=1e-4), 1, 1]
    assert len(regions["curve"]) <= 200


def test_boxes_are_where_the_square_is(found):
    made, (_, detections) = found
    first = (detections["video"] == 0) & (detections["frame"] == 7)
    ((x0, y0, x1, y1),) = detections["box"][first].tolist()
    assert (x0, y0, x1, y1) == (7, 8, 14, 15)
    assert detections["score"][first][0] == made[0][2][7].max()
    assert not (detections["frame"] < 2).any(), "no box in a frame without a score"


def test_without_masks_there_are_boxes_and_no_figures():
    figures, detections = localisation([video(0, masked=False)[0]], threshold=1.0)
    assert {figure["value"] for figure in figures.values()} == {None}
    assert "no masks" in figures["rbdc"]["why"]
    assert len(detections["score"]) == 8


def test_without_a_threshold_there_are_no_boxes():
    figures, detections = localisation([video(0)[0], video(1)[0]], threshold=np.nan, replicates=20)
    assert not len(detections["score"])
    assert figures["rbdc"]["value"] == 0


def test_the_interval_of_the_pixels_is_that_of_pixels_left_out_with_their_videos():
    made = [video(seed, quality=0.1 * seed) for seed in range(6)]
    figures = localisation([item[0] for item in made], threshold=1.0, replicates=20)[0]
    masks, maps = [item[1] for item in made], [item[2] for item in made]
    without = [
        pixel_auc(*([own for i, own in enumerate(each) if i != out] for each in (masks, maps)))
        for out in range(6)
    ]
    low, high = share(pixel_auc(masks, maps), np.array(without)).bounds(0.95)
    assert figures["pixel_auc"]["low"] == pytest.approx(low, abs=1e-3)  # float16 steps
    assert figures["pixel_auc"]["high"] == pytest.approx(high, abs=1e-3)


def test_five_videos_with_masks_give_no_interval(found):
    figures = localisation([item[0] for item in found[0][1:]], threshold=1.0, replicates=20)[0]
    for name in ("pixel_auc_40", "pixel_auc", "rbdc", "tbdc"):
        assert figures[name]["low"] is None
        assert figures[name]["why"].startswith("too few videos to say: 5 "), name


def test_maps_of_tiny_values_have_the_same_interval(found):
    made, (figures, _) = found
    small = [
        item[0]._replace(maps=partial(iter, (item[2] * 2.0**-40).astype(np.float32)))
        for item in made
    ]
    own = localisation(small, threshold=2.0**-40, replicates=200)[0]
    assert own["pixel_auc"] == figures["pixel_auc"]

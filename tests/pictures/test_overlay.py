"""The regions of an overlay: the boxes that the report counts, in step with the frames."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from support.toys import spec, toy

from vad_jax.detector import Detector
from vad_jax.evaluation import boxes_at
from vad_jax.pictures.regions import Regions
from vad_jax.types import Scores


@pytest.fixture
def detector():
    """Windows of five frames that score the last two; map_99 one half."""
    method = toy(spec(frames=5, sees=(0, 1, 2, 3), scored=(3, 4), step=1))
    variables = method.init(jax.random.key(0))
    return Detector(method, variables, statistics={}, map_99=0.5, config=None, about={"step": 0})


def test_regions_lie_where_the_error_is(detector):
    regions = Regions(detector, SimpleNamespace(source_size=(32, 64)))
    maps = np.zeros((2, 2, 16, 16), np.float32)
    maps[1, 0, 4:8, 8:12] = 1.0
    regions("video", np.array([0, 1]), Scores(parts={}, maps=maps))
    found = list(regions.by_row())
    assert [(start, frame) for start, frame, _ in found] == [(0, 3), (0, 4), (1, 4), (1, 5)]
    assert [len(boxes) for _, _, boxes in found] == [0, 0, 1, 0]
    ((x0, y0, x1, y1),) = found[2][2]
    assert (x0, y0, x1, y1) == pytest.approx((8 / 16, 4 / 16, 12 / 16, 8 / 16), abs=1 / 16)
    ((left, top, right, bottom),) = boxes_at(maps[1, 0], (32, 64), threshold=0.5)[0].tolist()
    sides = (left / 64, top / 32, (right + 1) / 64, (bottom + 1) / 32)
    assert (x0, y0, x1, y1) == pytest.approx(sides, abs=1e-4)  # as they are kept


def test_a_method_without_maps_has_no_regions(detector):
    regions = Regions(detector, SimpleNamespace(source_size=(32, 64)))
    regions("video", np.array([0]), Scores(parts={}))
    assert list(regions.by_row()) == []


def test_windows_that_share_a_frame_all_add_their_boxes(detector):
    regions = Regions(detector, SimpleNamespace(source_size=(32, 64)))
    maps = np.zeros((3, 2, 16, 16), np.float32)
    for row, column in ((0, 1), (1, 0), (2, 1)):
        maps[row, column, 4:8, 4 * row : 4 * row + 4] = 1.0
    regions("video", np.array([0, 1, 2]), Scores(parts={}, maps=maps))
    boxes = regions.in_step()
    assert [len(boxes(number)) for number in range(7)] == [0, 0, 0, 0, 2, 0, 1]

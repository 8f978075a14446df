"""Error maps on disk: means over rows, frame by frame, and nothing where there is nothing."""

import numpy as np
import pytest
from support.toys import spec

from vad_jax.runs.maps import Maps
from vad_jax.types import Scores

SPEC = spec(frames=4, sees=(0, 1, 2, 3), scored=(0, 1, 2, 3), step=2)


@pytest.fixture
def maps(tmp_path):
    return Maps(tmp_path, SPEC)


def rows(*values):
    return Scores({}, np.broadcast_to(np.reshape(values, (-1, 1, 1, 1)), (len(values), 4, 2, 2)))


def test_frames_of_several_rows_have_their_mean(maps):
    maps("a", np.array([0, 2]), rows(1.0, 3.0))
    maps("a", np.array([6]), rows(5.0))
    found = [frame[0, 0] for frame in maps.of("a", 11)()]
    np.testing.assert_array_equal(found, [1, 1, 2, 2, 3, 3, 5, 5, 5, 5, np.nan])
    assert [frame[0, 0] for frame in maps.of("a", 11)()][:4] == found[:4], "read again"


def test_a_video_without_a_row_has_maps_of_nothing_beside_one_that_has(maps):
    maps("a", np.array([0]), rows(1.0))
    nothing = list(maps.of("short", 3)())
    assert [frame.shape for frame in nothing] == [(2, 2)] * 3
    assert np.isnan(nothing).all()


def test_a_method_that_draws_none_has_none(maps):
    maps("a", np.array([0]), Scores({}))
    assert maps.of("a", 4) is None

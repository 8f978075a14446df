"""The rows of a video on the host: each once, in float64, whatever the batches were."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import Clip, spec, toy

from vad_jax.scoring import frames_of, results, score_videos
from vad_jax.scoring.results import Collected
from vad_jax.types import Scores

SPEC = spec(frames=4, sees=(0, 1, 2, 3), scored=(1, 3), stride=3)


def scores(first, *, padding=0, **more):
    """Two frames, and three labels, of each row; padding is NaN."""
    values = jnp.asarray([*first, *[np.nan] * padding], jnp.float32)
    parts = {
        "a": jnp.stack([values, values / 3], axis=1),
        "b": jnp.stack([jnp.stack([values + k, -values], axis=1) for k in range(3)], axis=2),
    }
    return Scores(parts, **more)


def test_frames_of_rows_are_counted_in_the_video():
    found = frames_of(SPEC, np.array([0, 10]))
    np.testing.assert_array_equal(found, [[3, 9], [13, 19]])
    assert found.dtype == np.int32
    assert frames_of(SPEC, np.empty(0, np.int32)).shape == (0, 2)


def test_padding_is_cut_off_and_numbers_are_float64():
    collected = Collected(SPEC)
    collected.add(np.array([0, 2]), scores([0, 2], padding=3))
    collected.add(np.array([4]), scores([4], padding=4))
    video = collected.video("v", 20)
    assert (video.name, video.length, video.boxes) == ("v", 20, None)
    np.testing.assert_array_equal(video.first, [0, 2, 4])
    np.testing.assert_array_equal(video.frame, frames_of(SPEC, video.first))
    expected = jax.tree.map(np.float64, scores([0, 2, 4]).parts)
    for name, value in expected.items():
        assert video.parts[name].dtype == np.float64
        np.testing.assert_array_equal(video.parts[name], value)


def test_maps_are_handed_on_without_padding_and_not_kept():
    collected = Collected(SPEC)
    maps = jnp.ones((4, 2, 5, 5))
    handed = collected.add(np.array([0, 2, 3]), scores([0, 2, 3], padding=1, maps=maps))
    assert isinstance(handed.maps, np.ndarray)
    assert handed.maps.shape == (3, 2, 5, 5)
    assert all(kept.maps is None for _, kept in collected._new)


def test_boxes_of_objects_are_kept():
    collected, boxes = Collected(SPEC), jnp.arange(12.0).reshape(3, 4)
    collected.add(np.array([5, 5]), scores([5, 5], padding=1, boxes=boxes))
    video = collected.video("v", 20)
    np.testing.assert_array_equal(video.boxes, boxes[:2])
    assert video.boxes.dtype == np.float64


def test_a_video_without_a_row_has_none():
    video = Collected(SPEC).video("short", 3)
    assert (video.name, video.length, video.parts) == ("short", 3, {})
    assert video.first.shape == (0,)
    assert video.frame.shape == (0, 2)


@pytest.mark.parametrize("merged", [1, 2, 5])
def test_many_batches_of_a_video_are_kept_as_few(monkeypatch, merged):
    whole, few = Collected(SPEC), Collected(SPEC)
    monkeypatch.setattr(results, "_MERGED", merged)
    for first in range(11):
        few.add(np.array([first]), scores([first], padding=1))
        assert len(few._new) < merged
    monkeypatch.undo()
    for first in range(11):
        whole.add(np.array([first]), scores([first], padding=1))
    assert len(whole._new) == 11
    mine, theirs = few.video("v", 90), whole.video("v", 90)
    np.testing.assert_array_equal(mine.first, theirs.first)
    for name, values in theirs.parts.items():
        np.testing.assert_array_equal(mine.parts[name], values)


def test_a_scored_video_is_the_same_however_it_is_kept(monkeypatch):
    method = toy(labels=2)
    given = (method, method.init(None), [Clip("a", 300)])
    (whole,) = score_videos(*given, rows=2)
    monkeypatch.setattr(results, "_MERGED", 5)
    (merged,) = score_videos(*given, rows=2)
    assert len(whole.first) == 36
    np.testing.assert_array_equal(merged.first, whole.first)
    for name, values in whole.parts.items():
        np.testing.assert_array_equal(merged.parts[name], values)

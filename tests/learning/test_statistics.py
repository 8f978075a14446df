"""What normal footage looks like: the numbers of all rows, those that are none left out."""

import dataclasses

import numpy as np
import pytest
from support.toys import Clip, spec, toy

from vad_jax.learning import statistics

PAIRS = spec(frames=2, sees=(0, 1), scored=(1,), step=1)


def test_a_summary_is_of_all_finite_values_in_float64():
    values = [np.array([[1.0, np.nan], [2.0, np.inf]], np.float32), np.array([3, 6])]
    found = statistics.summary(values)
    expected = np.array([1.0, 2.0, 3.0, 6.0])
    assert found == {
        "mean": 3.0, "std": expected.std(), "min": 1.0, "max": 6.0, "count": 4
    }  # fmt: skip
    many = [np.array([1e8], np.float32), np.ones(7, np.float32)]
    assert statistics.summary(many)["mean"] == (1e8 + 7) / 8  # float32 would lose the ones


@pytest.mark.parametrize("values", [[], [np.empty((0, 3))], [np.array([np.nan])]])
def test_a_summary_of_nothing_counts_nothing(values):
    found = statistics.summary(values)
    assert found.pop("count") == 0
    assert np.isnan(list(found.values())).all()


def test_parts_of_normal_videos_are_those_of_their_rows():
    method = toy(PAIRS)
    clips = [Clip("long", 30), Clip("short", 1), Clip("broken", 20, lost=[7], seed=1)]
    found = statistics.normal(method, method.init(None), clips)
    assert [(video.name, len(video.first)) for video in found.videos] == [
        ("long", 29), ("short", 0), ("broken", 17),
    ]  # fmt: skip
    rows = np.concatenate([video.parts["excess"] for video in found.videos if len(video.first)])
    assert found.parts["excess"] == statistics.summary([rows])
    assert found.parts["excess"]["count"] == 46


def test_the_highest_hundredth_of_maps_is_the_mean_over_videos():
    method = toy(PAIRS)
    clips = [Clip("a", 20), Clip("b", 50)]
    maps = [
        np.square(np.diff(clip.frames[..., 0] / np.float32(127.5) - 1, axis=0)) for clip in clips
    ]
    found = statistics.normal(method, method.init(None), clips)
    expected = np.mean([np.quantile(each, 0.99) for each in maps])
    assert found.map_99 == pytest.approx(expected, rel=1e-5)  # float32


def test_without_maps_there_is_no_such_number():
    method = toy(PAIRS)

    def score(variables, carry, batch):
        carry, scores = method.score(variables, carry, batch)
        return carry, scores._replace(maps=None)

    blind = dataclasses.replace(method, score=score)
    found = statistics.normal(blind, blind.init(None), [Clip("a", 20)])
    assert np.isnan(found.map_99)
    assert found.parts["excess"]["count"] == 19


def test_each_normal_video_is_started_anew():
    method = toy(PAIRS, carried="set")
    clips = [Clip("a", 20), Clip("b", 20, seed=1)]
    together = statistics.normal(method, method.init(None), clips)
    for i, clip in enumerate(clips):
        alone = statistics.normal(method, method.init(None), [clip])
        np.testing.assert_allclose(
            together.videos[i].parts["excess"], alone.videos[0].parts["excess"], rtol=1e-5
        )

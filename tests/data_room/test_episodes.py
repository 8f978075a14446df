"""Episodes, and batches of one video's segments, as pure functions: which windows go together."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.footage import lengths_alone

from vad_jax.data import episodes, rows, spans
from vad_jax.types import ConfigError, EpisodeSpec, InputSpec

FIVE = InputSpec(
    frames=5,
    sees=(0, 1, 2, 3),
    target=4,
    scored=(4,),
    height=8,
    width=8,
    channels=1,
    colour="grey",
    row=EpisodeSpec(support=2, query=3),
)
SEGMENTED = dataclasses.replace(FIVE, row=EpisodeSpec(2, 2, segments=32))
ONE_VIDEO = dataclasses.replace(FIVE, segments=32, row=None)
PED2 = [120, 150, 150, 180, 180, 150, 150, 120, 180, 180, 180, 180, 180, 150, 150, 150]

specs = st.builds(
    lambda support, query, **changes: dataclasses.replace(
        FIVE, row=EpisodeSpec(support, query), **changes
    ),
    support=st.integers(1, 4),
    query=st.integers(1, 4),
    frames=st.integers(1, 5),
    stride=st.integers(1, 2),
    step=st.integers(1, 4),
    lead=st.integers(0, 2),
    tail=st.sampled_from(["drop", "align"]),
)
unhurried = settings(deadline=None, max_examples=50)
films = st.lists(
    st.tuples(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=2)), min_size=1, max_size=3
)


def epoch(spec, lengths, *, batch_size=1, seed=0, number=0, broken=None):
    footage = lengths_alone(lengths, broken)
    return rows.kind(spec).batches(spec, footage, batch_size=batch_size, seed=seed, epoch=number)


def fits(spec, length, broken=()):
    return rows.kind(spec).fits(spec, lengths_alone([length], [broken]), 0)


def made(spec, pixels, row, mask):
    return rows.kind(spec).batch(spec, {"frames": pixels}, row, mask)


def sides(spec, row):
    """First frames of an episode's support and query windows, without those that it has not got."""
    first = row[1:]
    support, query = first[: spec.row.support], first[spec.row.support :]
    return support[support >= 0], query[query >= 0]


def frames(spec, first):
    return set(spans.frame_indices(spec, first).ravel().tolist())


@unhurried
@given(specs, films)
def test_support_and_query_share_no_frame_and_none_is_broken(spec, films):
    lengths, broken = zip(*films, strict=True)
    every, mask = epoch(spec, lengths, broken=broken)
    assert mask.all()
    for (row,) in every:
        support, query = sides(spec, row)
        seen, judged = frames(spec, support), frames(spec, query)
        assert seen
        assert judged
        assert not seen & judged
        assert not (seen | judged) & set(broken[row[0]])
        assert max(seen | judged) < lengths[row[0]]


@unhurried
@given(specs, films)
def test_the_support_are_windows_in_a_row_and_the_query_differ(spec, films):
    lengths, broken = zip(*films, strict=True)
    for (row,) in epoch(spec, lengths, broken=broken)[0]:
        support, query = sides(spec, row)
        able = spans.starts(spec, lengths[row[0]], broken[row[0]]).tolist()
        begin = able.index(support[0])
        assert able[begin : begin + len(support)] == support.tolist()
        assert set(query.tolist()) <= set(able)
        assert len(set(query.tolist())) == len(query)


@unhurried
@given(specs, st.integers(1, 60), st.sets(st.integers(0, 59), max_size=2))
def test_a_video_fits_where_two_windows_share_no_frame(spec, length, broken):
    """With a stride they may lie within each other."""
    first = spans.starts(spec, length, broken)
    each = [frames(spec, np.array([start])) for start in first]
    expected = any(not a & b for a in each for b in each)
    assert fits(spec, length, broken) == expected
    assert bool(len(epoch(spec, [length], broken=[broken])[0])) == expected


def test_an_epoch_is_a_pure_function_of_seed_and_epoch():
    for spec in (FIVE, SEGMENTED, ONE_VIDEO):

        def order(seed, number, spec=spec):
            return epoch(spec, [200, 170], batch_size=2, seed=seed, number=number)[0]

        np.testing.assert_array_equal(order(0, 3), order(0, 3))
        assert not np.array_equal(order(0, 3), order(0, 4))
        assert not np.array_equal(order(0, 3), order(1, 3))


@pytest.mark.parametrize("spec", [FIVE, SEGMENTED, ONE_VIDEO])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_epoch_sees_about_as_many_windows_as_there_are(spec, batch_size):
    lengths = [180, 200, 220, 240]
    every, mask = epoch(spec, lengths, batch_size=batch_size)
    assert mask.all()
    there = sum(len(spans.starts(spec, length)) for length in lengths)
    seen = every[..., 1:].size
    taken = len(lengths) * (5 if spec is FIVE else 4)
    assert abs(seen - there) <= max(taken, batch_size * 5)
    assert seen > there / 2


def test_every_video_has_its_turn_in_each_round():
    every, _ = epoch(FIVE, [60, 20, 40])
    turns = every[:, 0, 0].reshape(-1, 3)
    assert len(turns) > 3
    np.testing.assert_array_equal(np.sort(turns, axis=1), np.tile([0, 1, 2], (len(turns), 1)))
    assert len({tuple(turn) for turn in turns}) > 1


def test_a_short_video_has_less_of_both_before_it_has_nothing():
    def widest(length):
        found = [sides(FIVE, row) for (row,) in epoch(FIVE, [length] * 40)[0]]
        return {len(support) for support, _ in found}, max(len(query) for _, query in found)

    assert not fits(FIVE, 9)
    assert widest(10) == ({1}, 1)
    assert widest(11) == ({2}, 1)  # 6 frames, then one window of 5
    assert widest(12) == ({2}, 2)
    assert widest(60) == ({2}, 3)


def test_what_a_video_has_not_got_is_masked():
    (row,), _ = epoch(FIVE, [11])
    assert (row[0] == -1).sum() == 2  # of three query windows one is there
    pixels = np.zeros((1, 5, 5, 8, 8, 1), np.uint8)
    batch = made(FIVE, pixels, row, np.ones(1, bool))
    assert batch["support"].shape == (1, 2, 5, 8, 8, 1)
    assert batch["query"].shape == (1, 3, 5, 8, 8, 1)
    assert batch["support_mask"].tolist() == [[True, True]]
    assert batch["query_mask"].tolist() == [[True, False, False]]
    left_out = made(FIVE, pixels, row, np.zeros(1, bool))
    assert not left_out["support_mask"].any()
    assert not left_out["query_mask"].any()


def test_held_out_episodes_are_the_same_each_time_and_padded():
    every, mask = episodes.in_order(FIVE, lengths_alone([30, 4, 40]), batch_size=3)
    again, _ = episodes.in_order(FIVE, lengths_alone([30, 4, 40]), batch_size=3)
    np.testing.assert_array_equal(every, again)
    assert mask.sum() == 16
    assert mask.shape == (6, 3)
    assert every[mask][:, 0].tolist() == [0, 2] * 8
    np.testing.assert_array_equal(every[-1, 1:], np.tile(every[0, 0], (2, 1)))


def test_fewer_episodes_than_a_batch_are_padded_not_dropped():
    every, mask = epoch(FIVE, [12], batch_size=4)
    assert every.shape == (1, 4, 6)
    assert mask.tolist() == [[True, True, False, False]]


def test_an_episode_of_segments_lies_in_one_of_them_at_different_places():
    every, _ = epoch(SEGMENTED, [180, 150])
    segments = set()
    for (row,) in every:
        width = (dict(enumerate([180, 150]))[row[0]] - 4) // 32
        found = row[1:] // width
        assert len(set(found.tolist())) == 1
        assert found[0] < 32
        assert len(set(row[1:].tolist())) == 4
        segments.add(int(found[0]))
    assert len(segments) > 10


def test_of_ped2_the_videos_of_120_frames_have_no_episode_of_32_segments():
    fitting = [fits(SEGMENTED, length) for length in PED2]
    assert fitting == [length > 120 for length in PED2]
    every, _ = epoch(SEGMENTED, PED2)
    assert set(every[..., 0].ravel().tolist()) == {i for i, f in enumerate(fitting) if f}


def test_with_segments_a_batch_is_one_video_at_one_offset_of_different_ones():
    lengths = [100, 35, 164, 36]
    every, mask = epoch(ONE_VIDEO, lengths, batch_size=4)
    assert mask.all()
    offsets = set()
    for batch in every:
        (video,) = set(batch[:, 0].tolist())
        width = (lengths[video] - 4) // 32
        (offset,) = set((batch[:, 1] % width).tolist())
        assert len(set((batch[:, 1] // width).tolist())) == 4
        assert batch[:, 1].max() < 32 * width
        offsets.add((video, offset))
    assert {video for video, _ in offsets} == {0, 2, 3}  # 35 frames have 31 windows
    assert {offset for video, offset in offsets if video == 2} == set(range(5))


def test_a_batch_of_more_windows_than_segments_is_refused():
    assert epoch(ONE_VIDEO, [40], batch_size=32)[0].shape == (1, 32, 2)
    with pytest.raises(ConfigError, match=r"batch_size = 33.*32 at most"):
        epoch(ONE_VIDEO, [40], batch_size=33)


def test_windows_over_broken_frames_are_in_no_segment():
    every, _ = epoch(ONE_VIDEO, [80, 80], batch_size=4, broken=[(10, 40), ()])
    assert set(every[..., 0].ravel().tolist()) == {0, 1}
    of_first = every[every[..., 0] == 0][:, 1]
    assert not np.isin(spans.frame_indices(ONE_VIDEO, of_first), (10, 40)).any()
    assert not fits(ONE_VIDEO, 40, (10,))
    assert fits(ONE_VIDEO, 40)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (dataclasses.replace(FIVE, row=None), "a window of 5 whole frames"),
        (ONE_VIDEO, "32 windows of 5 whole frames"),
        (FIVE, "two windows of 5 whole frames that share none"),
        (SEGMENTED, "128 windows of 5 whole frames"),
    ],
)
def test_what_a_video_needs_is_said_and_true(spec, said):
    assert rows.kind(spec).need(spec).startswith(said)
    shortest = {"a ": 5, "32": 36, "tw": 10, "12": 132}[said[:2]]
    assert fits(spec, shortest)
    assert not fits(spec, shortest - 1)


def test_the_batch_of_rows_has_the_windows_in_their_places():
    every, mask = epoch(FIVE, [30, 24], batch_size=2)
    row = every[0]
    numbered = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    pixels = numbered[spans.frame_indices(FIVE, row[:, 1:])]
    batch = jax.device_get(made(FIVE, pixels, row, mask[0]))
    for side, first in (("support", row[:, 1:3]), ("query", row[:, 3:])):
        np.testing.assert_array_equal(batch[side][..., 0, 0, 0], first[..., None] + np.arange(5))
    np.testing.assert_array_equal(batch["video"], row[:, 0])
    np.testing.assert_array_equal(batch["frame"], row[:, 1])

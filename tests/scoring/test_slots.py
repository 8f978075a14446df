"""Streams side by side: each is scored as if it were alone."""

import jax
import numpy as np
import pytest
from support.toys import Clip, spec, toy

from vad_jax.scoring import Slots, Stream
from vad_jax.scoring.results import Collected

SPEC = spec(frames=4, sees=(0, 1, 2, 3), scored=(2, 3), step=2)
METHODS = {name: toy(SPEC, carried=name) for name in ("none", "video")}
# Sums of 64 float32 numbers in another order, and a running mean of them.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def alone(method, clip, *, maps=False):
    """The rows of a clip by a stream of its own."""
    stream, collected = Stream(method, method.init(None), maps=maps), Collected(SPEC)
    batches = [b for frame in clip.stream() for b in stream.push(frame)] + stream.flush()
    handed = [collected.add(first, scores).maps for first, scores in batches]
    return collected.video(clip.name, len(clip)), handed


def fetch(slots, collected):
    """Scores what waits, and gives each slot its own."""
    handed = {}
    while found := slots.step():
        owners, scores = found
        for slot, first in owners.items():
            own = jax.tree.map(lambda leaf, slot=slot: leaf[slot], scores)
            handed.setdefault(slot, []).append(collected[slot].add(first, own).maps)
    return handed


def same(mine, theirs):
    np.testing.assert_array_equal(mine.first, theirs.first)
    np.testing.assert_array_equal(mine.frame, theirs.frame)
    assert mine.parts.keys() == theirs.parts.keys()
    for name, values in theirs.parts.items():
        np.testing.assert_allclose(mine.parts[name], values, **CLOSE)


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def test_streams_of_any_length_are_scored_as_if_alone(method):
    clips = [Clip("a", 21), Clip("b", 12, lost=[5], seed=1), Clip("short", 3, seed=2)]
    slots = Slots(method, method.init(None), len(clips), rows=3)
    collected = [Collected(SPEC) for _ in clips]
    streams = [clip.stream() for clip in clips]
    for slot in range(len(clips)):
        slots.begin(slot)
    for number in range(21):  # frame by frame, in turn
        for slot, (clip, stream) in enumerate(zip(clips, streams, strict=True)):
            if number < len(clip):
                slots.push(slot, next(stream))
            if number == len(clip) - 1:
                slots.flush(slot)
        if number % 7 == 6:
            fetch(slots, collected)
    for clip, own in zip(clips, collected, strict=True):
        same(own.video(clip.name, len(clip)), alone(method, clip)[0])


def test_a_slot_takes_one_stream_after_another(method):
    slots = Slots(method, method.init(None), 2, rows=2)
    for clip in (Clip("a", 15), Clip("b", 14, seed=1)):
        collected = [Collected(SPEC), Collected(SPEC)]
        slots.begin(1)
        for frame in clip.stream():
            slots.push(1, frame)
        slots.flush(1)
        fetch(slots, collected)
        same(collected[1].video(clip.name, len(clip)), alone(method, clip)[0])
        assert not len(collected[0].video("nobody", 0).first)


def test_what_waits_in_a_slot_goes_with_its_stream():
    method = METHODS["video"]
    slots = Slots(method, method.init(None), 1, rows=2)
    for _ in range(2):
        slots.begin(0)
        for frame in Clip("a", 8).stream():
            slots.push(0, frame)
        assert slots.waiting(0) == 3
    owners, _ = slots.step()
    np.testing.assert_array_equal(owners[0], [0, 2])
    assert slots.waiting(0) == 1


def test_where_no_row_waits_nothing_is_scored(method):
    slots = Slots(method, method.init(None), 2, rows=2)
    slots.begin(0)
    slots.begin(1)
    assert slots.step() is None
    for frame in Clip("short", 3).stream():
        slots.push(1, frame)
    assert slots.waiting(1) == 0
    assert slots.step() is None


def test_maps_come_where_they_are_asked_for(method):
    clip = Clip("a", 9)
    expected = np.concatenate(alone(method, clip, maps=True)[1])
    for maps in (True, False):
        slots, collected = Slots(method, method.init(None), 1, rows=2, maps=maps), [Collected(SPEC)]
        slots.begin(0)
        for frame in clip.stream():
            slots.push(0, frame)
        handed = fetch(slots, collected)[0]
        if maps:
            np.testing.assert_allclose(np.concatenate(handed), expected, **CLOSE)
        else:
            assert handed == [None] * len(handed)

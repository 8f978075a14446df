"""A stream's scores are those of the whole video, each frame once."""

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vad_jax.evaluation import Fuser, fuse
from vad_jax.types import ConfigError, DataError, Fusion, VideoScores

NAN = np.nan
NORMAL = {"a": {"mean": 0.3, "std": 1.7}, "b": {"mean": -1.0, "std": 0.2}}
SHARES = ("combine", "c", {"a": 0.7, "b": 0.4})
KERNEL = (0.2, 0.3, 0.5)


def online(*operations, default="c"):
    return Fusion(paper=operations, online=operations, default=default)


def some(rows, kept):
    """Some rows of a video, as they come in; parts are not known before there are any."""
    parts = {name: part[kept] for name, part in rows.parts.items()}
    count = len(rows.first[kept])
    return rows._replace(
        first=rows.first[kept],
        frame=rows.frame[kept],
        parts=parts if count else {},
        boxes=None if rows.boxes is None or not count else rows.boxes[kept],
    )


def streamed(fusion, rows, cuts, **options):
    """Scores of rows pushed in the pieces that `cuts` makes; labels are those that rows show."""
    fuser, said = Fuser(fusion, NORMAL, **options), []
    least = np.minimum.accumulate(rows.frame.min(axis=1, initial=rows.length)[::-1])[::-1]
    ends = sorted({*cuts, len(rows.first)})
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        horizon = least[end] if end < len(least) else rows.length
        said.append(fuser.push(some(rows, slice(begin, end)), int(horizon)))
    said.append(fuser.flush(rows.length))
    frames = np.concatenate([frame for frame, _ in said])
    np.testing.assert_array_equal(frames, np.arange(rows.length))  # each once, in order
    assert frames.dtype == np.int64
    labels = rows.parts["a"].shape[2:]
    return np.concatenate([_shown(scores, labels) for _, scores in said])


def _shown(scores, labels):
    """Before rows have shown their labels, the scores of frames have none."""
    unknown = scores[:, None] if labels and scores.ndim == 1 else scores
    return np.broadcast_to(unknown, (len(scores), *labels))


@st.composite
def windows(draw):
    """Windows with gaps, lost rows, values that are missing, and perhaps labels."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scored = draw(st.integers(9, 11) | st.integers(1, 5))
    stride = draw(st.integers(1, 3))
    steps = random.integers(1, draw(st.integers(2, 6)), draw(st.integers(0, 12)))
    first = np.cumsum(steps)
    first = first[random.random(len(first)) < 0.8]
    frame = first[:, None] + stride * np.arange(scored)
    length = int(frame.max(initial=3)) + 1 + draw(st.integers(0, 3))
    labels = draw(st.sampled_from([(), (1,), (3,)]))
    parts = {name: random.normal(size=(*frame.shape, *labels)) for name in "ab"}
    parts["b"][random.random(frame.shape) < 0.1] = NAN
    cuts = draw(st.lists(st.integers(0, len(first)), max_size=6))
    return VideoScores("01", length, first, frame, parts), cuts


@st.composite
def objects(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    length = draw(st.integers(1, 15))
    frame = np.sort(random.integers(0, length, draw(st.integers(0, 25))))
    parts = {name: random.normal(size=(len(frame), 1)) for name in "ab"}
    parts["b"][random.random(len(frame)) < 0.2] = NAN
    first = 40 * random.random((len(frame), 2))
    boxes = np.concatenate([first, first + 20 * random.random((len(frame), 2))], axis=1)
    cuts = draw(st.lists(st.integers(0, len(frame)), max_size=6))
    rows = VideoScores("01", length, frame, frame[:, None], parts, boxes)
    # Rows come as whole frames: a cut within one would say that it is final.
    return rows, [int(np.searchsorted(frame, frame[cut])) for cut in cuts if cut < len(frame)]


@pytest.mark.parametrize("how", ["mean", "newest", "ninth"])
@given(windows())
def test_windows_to_the_bit(how, given_rows):
    rows, cuts = given_rows
    if how == "ninth" and rows.frame.shape[1] < 9:
        how = "mean"
    fusion = online(("assign", how), ("negate", "b"), ("standardise",), SHARES, ("floor", -1.0))
    whole = fuse(fusion, rows, NORMAL, "online")
    np.testing.assert_array_equal(streamed(fusion, rows, cuts), whole)


@pytest.mark.parametrize("how", ["max", "map"])
@given(objects())
def test_objects_to_the_bit(how, given_rows):
    rows, cuts = given_rows
    reduce = [("reduce", "max")] if how == "max" else [("reduce", "map"), ("filter", (1, 9, 5))]
    fusion = online(("standardise",), SHARES, *reduce, ("floor", -0.5))
    whole = fuse(fusion, rows, NORMAL, "online")
    np.testing.assert_array_equal(streamed(fusion, rows, cuts), whole)


@pytest.mark.parametrize("edges", ["nearest", "zero"])
@given(windows(), st.booleans())
def test_causal_smoothing_goes_on(edges, given_rows, twice):
    rows, cuts = given_rows
    smooth = [("smooth", KERNEL, edges, True), ("floor", -2.0), ("smooth", (1.0,), edges, True)]
    fusion = online(("assign", "mean"), ("standardise",), SHARES, *smooth[: 3 if twice else 1])
    whole = fuse(fusion, rows, NORMAL, "online")
    np.testing.assert_allclose(streamed(fusion, rows, cuts), whole, rtol=0, atol=1e-12)
    raw = fuse(fusion, rows, NORMAL, "online", smoothed=False)
    np.testing.assert_array_equal(streamed(fusion, rows, cuts, smoothed=False), raw)


@given(objects())
def test_smoothed_objects_go_on(given_rows):
    rows, cuts = given_rows
    fusion = online(SHARES, ("reduce", "max"), ("floor", 0.0), ("smooth", KERNEL, "zero", True))
    whole = fuse(fusion, rows, NORMAL, "online")
    np.testing.assert_allclose(streamed(fusion, rows, cuts), whole, rtol=0, atol=1e-12)


def row(first, scored, value=1.0):
    frame = np.arange(first, first + scored)[None]
    return VideoScores("01", 0, np.array([first]), frame, {"a": np.full((1, scored), value)})


def test_mean_waits_for_the_windows_to_come_and_newest_does_not():
    for how, right in (("mean", [0, 1]), ("newest", [0, 1, 2, 3])):
        fuser = Fuser(online(("assign", how), default="a"), None)
        frames, scores = fuser.push(row(0, 4), horizon=2)
        np.testing.assert_array_equal(frames, right)
        np.testing.assert_array_equal(scores, np.ones(len(right)))


def test_a_lost_stretch_is_said_as_soon_as_it_is_known():
    fuser = Fuser(online(("assign", "mean"), default="a"), None)
    fuser.push(row(0, 2), horizon=1)
    frames, scores = fuser.push(some(row(0, 2), slice(0)), horizon=5)
    np.testing.assert_array_equal(frames, [1, 2, 3, 4])
    np.testing.assert_array_equal(scores, [1, NAN, NAN, NAN])
    np.testing.assert_array_equal(fuser.flush(6)[0], [5])


def test_any_result_can_be_asked_for():
    fusion = online(("assign", "mean"), SHARES, ("combine", "other", {"a": -1.0}), default="c")
    fuser = Fuser(fusion, None, result="other")
    np.testing.assert_array_equal(fuser.push(row(0, 1, 3.0), 1)[1], [3.0])
    with pytest.raises(ConfigError, match="makes no 'none' of the parts a"):
        Fuser(fusion, None, result="none").push(row(0, 1), 1)


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (("minmax", "video"), "needs the whole video"),
        (("smooth", (0.5, 0.5), "nearest", False), "looks ahead"),
    ],
)
def test_what_needs_frames_to_come_is_refused(operation, said):
    fusion = online(("assign", "mean"), operation, default="a")
    with pytest.raises(ConfigError, match=said):
        Fuser(fusion, None)
    if operation[0] == "smooth":
        Fuser(fusion, None, smoothed=False)  # left out, it needs nothing


def test_a_broken_horizon_and_a_row_behind_the_end_are_named():
    fuser = Fuser(online(("assign", "mean"), default="a"), None)
    fuser.push(row(0, 2), horizon=2)
    with pytest.raises(DataError, match="frame 1, but no row was to score a frame before 2"):
        fuser.push(row(1, 2), horizon=3)
    fuser = Fuser(online(("assign", "mean"), default="a"), None)
    fuser.push(row(4, 3), horizon=5)
    with pytest.raises(DataError, match="scores frame 6 of a stream of 6 frames"):
        fuser.flush(6)


def test_memory_does_not_grow_with_the_stream():
    fusion = online(("assign", "mean"), ("smooth", KERNEL, "zero", True), default="a")
    fuser = Fuser(fusion, None)
    for first in range(50):
        fuser.push(row(first, 16), horizon=first + 1)
    tracemalloc.start()
    for first in range(50, 1050):
        fuser.push(row(first, 16), horizon=first + 1)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 20_000  # what is still waited for; 1000 rows of 16 float64 are 128,000

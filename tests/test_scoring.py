"""Windows on their way to the device: each frame goes once, and each window finds its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vad_jax
from vad_jax import scoring
from vad_jax.data.windows import WindowBuffer, frame_indices, starts
from vad_jax.types import DataError, InputSpec


@st.composite
def specs(draw):
    frames = draw(st.integers(1, 6))
    return InputSpec(
        frames=frames,
        sees=tuple(range(frames)),
        target=None,
        scored=(frames - 1,),
        height=1,
        width=1,
        channels=1,
        colour="grey",
        stride=draw(st.integers(1, 3)),
        step=draw(st.integers(1, 4)),
        lead=draw(st.integers(0, 2)),
        tail=draw(st.sampled_from(["drop", "align"])),
    )


@given(specs(), st.integers(0, 40), st.sets(st.integers(0, 39), max_size=4), st.integers(1, 5))
def test_gathered_batches_hold_the_windows_of_the_video(spec, length, broken, rows):
    buffer, waiting, found = WindowBuffer(spec), [], []
    for number in range(length):
        frame = None if number in broken else np.full((1, 1, 1), number, np.uint8)
        waiting += buffer.push(frame)
    waiting += buffer.flush()
    shapes = set()
    while waiting:
        now, waiting = scoring._taken(spec, waiting, rows)
        batch = scoring._gathered(scoring._packed(spec, now, rows))
        shapes.add(batch["frames"].shape)
        assert batch["mask"].sum() == len(now) >= 1
        for row in range(len(now)):
            found.append((int(batch["frame"][row]), batch["frames"][row].ravel().tolist()))
    first = starts(spec, length, broken)
    assert found == [(int(f), frame_indices(spec, f).tolist()) for f in first]
    assert len(shapes) <= 1, "one program for all batches"


def test_a_window_that_shares_frames_sends_them_once():
    spec = InputSpec(
        frames=5, sees=(0, 1, 2, 3), target=4, scored=(4,), height=1, width=1, channels=1,
        colour="grey",
    )  # fmt: skip
    windows = [(first, [np.zeros((1, 1, 1), np.uint8)] * 5) for first in range(16)]
    assert scoring._packed(spec, windows, 16)["chunk"].shape == (20, 1, 1, 1), "not 80"


def test_a_frame_of_another_size_is_named():
    spec = InputSpec(
        frames=1, sees=(0,), target=None, scored=(0,), height=2, width=2, channels=1,
        colour="grey",
    )  # fmt: skip
    with pytest.raises(
        DataError, match=r"A frame is \[2, 2, 1\] \[H, W, C\]; this one \(3, 2, 1\)"
    ):
        scoring._packed(spec, [(0, [np.zeros((3, 2, 1), np.uint8)])], 1)


def test_many_batches_of_a_video_are_kept_as_few(finished_run, monkeypatch):
    detector = vad_jax.load(finished_run[0])
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (130, 16, 16, 1)).astype(np.uint8)
    whole = scoring.score_video(detector.method, detector.variables, frames)
    monkeypatch.setattr(scoring, "_MERGED", 5)
    merged = scoring.score_video(detector.method, detector.variables, frames)
    assert len(whole.first) == 32
    np.testing.assert_array_equal(merged.first, whole.first)
    for name, values in whole.parts.items():
        np.testing.assert_array_equal(merged.parts[name], values)

"""Which windows are adapted on: as many as are asked for, and none shares a frame with a query."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vad_jax.data.spans import frame_indices, starts
from vad_jax.data.supports import choose, spread
from vad_jax.types import InputSpec

SPEC = InputSpec(
    frames=5, sees=(0, 1, 2, 3), target=4, scored=(4,), height=8, width=8, channels=1, colour="grey"
)


@given(st.integers(0, 60), st.integers(1, 12), st.sets(st.integers(0, 60), max_size=5))
def test_query_windows_share_no_frame_with_any_support(length, number, broken):
    own = choose(SPEC, length, broken, number)
    taken = set(frame_indices(SPEC, own.support).ravel().tolist())
    assert not taken & set(frame_indices(SPEC, own.query).ravel().tolist())
    assert len(own.support) == min(number, len(starts(SPEC, length, broken)))


def test_a_normal_support_holds_normal_frames_only():
    normal = np.ones(40, bool)
    normal[3] = normal[20:25] = False
    own = choose(SPEC, 40, (), 30, normal=normal)
    assert normal[frame_indices(SPEC, own.support)].all()
    assert own.support[0] == 4


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.integers(1, 20))
def test_a_support_has_all_its_shots_where_there_are_as_many_windows(lengths, number):
    broken = [()] * len(lengths)
    whole = [starts(SPEC, length) for length in lengths]
    for where in ("first", "spread"):
        own = spread(SPEC, lengths, broken, number, where)
        assert sum(map(len, own)) == min(number, sum(map(len, whole)))
        assert all(np.isin(some, all_).all() for some, all_ in zip(own, whole, strict=True))
        assert all((np.diff(some) > 0).all() for some in own)

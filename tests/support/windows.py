"""Specs of windows: the published five frames, and any that hypothesis draws."""

import dataclasses

from hypothesis import strategies as st

from vad_jax.types import InputSpec

FIVE = InputSpec(
    frames=5, sees=(0, 1, 2, 3), target=4, scored=(4,), height=1, width=1, channels=1, colour="grey"
)
specs = st.builds(
    lambda **changes: dataclasses.replace(FIVE, **changes),
    frames=st.integers(1, 6),
    stride=st.integers(1, 3),
    step=st.integers(1, 9),
    lead=st.integers(0, 2),
    tail=st.sampled_from(["drop", "align"]),
)

"""A real training process that is killed ends with the bits of one that nobody touched."""

import pytest
from support import kills


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    """Once by each signal, in a save by TERM."""
    ends = kills.survives(tmp_path, times=3, seed=0, method="level")
    assert ends.pop("runs compared") >= 1  # one that ended before its kill is compared, too
    assert sum(ends.values()) == 3


@pytest.mark.slow
def test_six_kills_of_a_network(tmp_path):
    kills.survives(tmp_path, times=6, seed=1)

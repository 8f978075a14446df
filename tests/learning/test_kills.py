"""A real training process that is killed ends with the bits of one that nobody touched."""

import pytest
from support import kills


@pytest.mark.parametrize("seed", [0])
def test_a_killed_run_ends_with_the_same_bits(tmp_path, seed):
    ends = kills.survives(tmp_path, times=2, seed=seed)
    assert ends.pop("runs compared") >= 1  # one that ended before its kill is compared, too
    assert sum(ends.values()) == 2


@pytest.mark.slow
def test_six_kills_more(tmp_path):
    kills.survives(tmp_path, times=6, seed=1)

"""Rows of test videos as scores of frames."""

import types

import numpy as np
import pytest
from support.toys import toy

from vad_jax.runs.scores import scored
from vad_jax.types import ConfigError, VideoScores


def test_a_score_for_each_label_is_refused_before_anything_is_written():
    method = toy(labels=3)
    detector = types.SimpleNamespace(
        method=method,
        statistics={"excess": {"mean": 0.0, "std": 1.0}},
        config=types.SimpleNamespace(method="toy"),
    )
    frame = np.arange(16)[None]
    rows = VideoScores("a", 16, np.zeros(1, int), frame, {"excess": np.ones((1, 16, 3))})
    with pytest.raises(ConfigError, match="toy gives a frame a score for each of its labels"):
        scored(detector, [rows], None, about={})

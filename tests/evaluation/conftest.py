"""A small test set with scores, as evaluation gets it from a method."""

import copy

import numpy as np
import pytest

from vad_jax.evaluation import Scored
from vad_jax.evaluation.score_files import SCORES

LENGTHS = (40, 30, 50, 20)


@pytest.fixture
def frames():
    """Four videos of noise, `[F, 6, 8]` uint8, with more of it towards the end."""
    random = np.random.default_rng(5)
    return [
        (random.random((length, 6, 8)) * np.linspace(20, 255, length)[:, None, None]).astype("u1")
        for length in LENGTHS
    ]


@pytest.fixture
def scored(test_set):
    """The same test set, to be changed."""
    return copy.deepcopy(test_set)


@pytest.fixture(scope="session")
def test_set():
    """Scores a little better than chance; the last video is anomalous throughout."""
    return made(("01", "02", "street/03", "04"), LENGTHS)


@pytest.fixture(scope="session")
def enough():
    """The like with seven videos of both classes, so that intervals can be given."""
    return made(tuple(f"{n:02d}" for n in range(1, 9)), (40, 30, 50, 26, 38, 60, 44, 20))


def made(names, lengths):
    random = np.random.default_rng(6)
    labels = [np.arange(length) * 2 >= length for length in lengths[:-1]]
    labels = [video.astype(np.int8) for video in [*labels, np.ones(lengths[-1])]]
    values = [video + random.normal(size=len(video)) for video in labels]
    for video in values:
        video[:4] = np.nan
    return Scored(
        names=names,
        labels=labels,
        scores={name: [video.copy() for video in values] for name in SCORES},
        parts={"psnr": [30 - video for video in values], "distance": values},
        signs={"psnr": -1, "distance": 1},
        results={"psnr_only_paper_raw": values},
        detections={
            "video": np.array([0, 2]),
            "frame": np.array([4, 5]),
            "box": np.array([[0, 0, 3, 3], [1, 1, 2, 2]], np.int32),
            "score": np.array([0.5, 0.7]),
        },
        meta={"method": "mnad", "seed": 0, "fps": 10.0, "label_source": "labels.csv"},
    )

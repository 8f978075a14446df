"""A raw set of a few tiny videos, and what a check says of it."""

import cv2
import numpy as np

from vad_jax.datasets import open_dataset
from vad_jax.datasets.raw.counts import Part, Published
from vad_jax.runs.examining import examine

SIZE = (12, 16)
TRUTH = {"01": [0, 1, 1, 0, 0, 1], "02": [0, 0, 1, 1, 0, 0]}
JOINED = np.concatenate(list(TRUTH.values())).astype(np.uint8)
KNOWN = Published(
    training=Part(2, 12, {"01": 6, "02": 6}),
    testing=Part(2, 12, {"01": 6, "02": 6}),
    size=SIZE,
    anomalous={"labels": {"01": 3, "02": 2}, "masks": {"01": 3, "02": 2}},
)


def write_frames(folder, frames, *, name="{:03d}.png", size=SIZE):
    folder.mkdir(parents=True)
    for number in range(frames):
        pixels = np.full((*size, 3), (10, 20, 30 + number), np.uint8)
        assert cv2.imwrite(str(folder / name.format(number)), pixels)


def write_masks(folder, labels, *, value=255, name="{:03d}.png", size=SIZE):
    folder.mkdir(parents=True)
    for number, label in enumerate(labels):
        mask = np.zeros(size, np.uint8)
        mask[3, 4] = value * label
        assert cv2.imwrite(str(folder / name.format(number)), mask)


def examined(root, known=KNOWN, **options):
    return examine(open_dataset("folder", root, **options), known, progress=False)


def said(found):
    """Everything that is wrong, in one text."""
    return "\n".join([*found.faults, *(fault for row in found.rows for fault in row.faults)])


def row(found, video, split="test"):
    (one,) = [row for row in found.rows if (row.split, row.video) == (split, video)]
    return one


def frame(root, number, *, video="02", part="testing"):
    return root / part / "frames" / video / f"{number:03d}.png"

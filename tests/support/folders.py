"""Small folders of frames, and what can happen to their files."""

import csv
import shutil

import cv2
import numpy as np
from support import films


def small_set(source, root):
    """Two training and two test videos of 12 frames, each half anomalous, of the synthetic set."""
    for part in ("training", "testing"):
        for name in ("01", "02"):
            target = root / part / "frames" / name
            target.mkdir(parents=True)
            for path in sorted((source / part / "frames" / name).glob("*.png"))[:12]:
                shutil.copy(path, target)
    np.save(root / "labels.npy", np.tile(np.arange(12) >= 6, 2).astype(np.uint8))
    return root


def frame(root, number, part="training", video="02"):
    """The file of a frame of a small set."""
    return root / part / "frames" / video / f"{number:03d}.png"


def cut(path, size):
    """Leaves the first bytes of a file."""
    path.write_bytes(path.read_bytes()[:size])


def of_films(root):
    """Two films, a folder of frames, and a text that calls itself a film."""
    (root / "door").mkdir(parents=True)
    films.write(root / "door" / "a.mp4", frames=12)
    films.write(root / "b.avi", frames=9)
    (root / "c").mkdir()
    for number in range(7):
        pixels = np.full((20, 30), 10 * number, np.uint8)
        cv2.imwrite(str(root / "c" / f"{number:03d}.png"), pixels)
    (root / "bad.mp4").write_text("this is no film")
    return root


def rows(path):
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))

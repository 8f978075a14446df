"""CUHK Avenue: the official archive of films, and the repacked one of frames.

Two sources say which frames are anomalous and differ on 441 of them: the pixel masks of the
archive, and the intervals of the future-frame papers, which bridge short gaps. Where the masks are
there they are the truth; `labels="intervals"` takes the others. Files of frame labels hold either:
the repacked `avenue.mat` is of two kinds under one name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.folder import check_root, given_labels
from vad_jax.datasets.names import inside
from vad_jax.datasets.raw.counts import Part, Published, differences, numbered
from vad_jax.datasets.raw.places import PARTS, all_of, located
from vad_jax.datasets.walk import Walk
from vad_jax.types import DataError

FPS = 25.0
SIZE = (360, 640)
FOLDERS = {"official": ("training_videos", "testing_videos"), "repacked": PARTS}
NAMES = ("avenue", "Avenue", "Avenue Dataset", "Avenue_Dataset", "avenue_dataset")
MASKS = "testing_label_mask"
TRAINING_VIDEOS, TRAINING_FRAMES = 16, 15_328
TESTING = (  # frames, anomalous by the masks, anomalous by the intervals
    (1439, 408, 451),
    (1211, 89, 139),
    (923, 87, 87),
    (947, 93, 93),
    (1007, 318, 318),
    (1283, 429, 433),
    (605, 123, 105),
    (36, 36, 10),
    (1175, 289, 333),
    (841, 133, 161),
    (472, 144, 183),
    (1271, 190, 249),
    (549, 75, 81),
    (507, 74, 73),
    (1001, 90, 90),
    (740, 109, 99),
    (426, 384, 358),
    (294, 294, 265),
    (248, 140, 132),
    (273, 154, 154),
    (76, 53, 53),
)
DIFFERING = 441  # frames on which masks and intervals differ
UNCLEAN = (  # HF2-VAD's notes: training video, first and last frame from 1, what is seen
    ("02", 311, 521, "wrong direction"),
    ("02", 771, 831, "running"),
    ("04", 1460, 1510, "abnormal"),
    ("07", 741, 900, "abnormal"),
)


def open_avenue(root: Path, *, labels: str | Path | None = None) -> Dataset:
    """CUHK Avenue in either layout, compared with its published counts.

    Args:
      root: its folder, or one that holds it.
      labels: `masks` or `intervals` for one of the set's own two sources, or a user's own path;
        without it masks where they are there, else intervals.

    Raises:
      DataError: no folder, neither layout, names that cannot be ordered, or a source of labels
        that is not there.
    """
    check_root(root)
    place = located(root, NAMES, FOLDERS)
    if not place:
        raise DataError(
            f"{root} is not CUHK Avenue. Looked for training_videos/ and testing_videos/ (official)"
            f" or training/ and testing/ (repacked), there or in {', '.join(NAMES)}; found "
            f"{inside(root)}."
        )
    root, layout = place
    walk = Walk(root)
    walk.entries(root)
    train, test = (root / name for name in FOLDERS[layout])
    training, testing = walk.part(train), walk.part(test)
    if not training and not testing:
        raise DataError(
            f"{root} has the {layout} layout of CUHK Avenue but no video. {test.name}/ holds "
            f"{inside(test) if test.is_dir() else '-'}."
        )
    counts = published()
    walk.notes += differences(train.name, training, counts.training, first=counts.first)
    walk.notes += differences(test.name, testing, counts.testing, first=counts.first)
    masks = _masks(root, test)
    return Dataset(
        name="avenue",
        layout=layout,
        root=root,
        training=training,
        testing=testing,
        labels=_labels(labels, root, masks, all_of("avenue", root, test)),
        masks=masks,
        fps=FPS,
        ignored=walk.ignored,
        notes=tuple(walk.notes),
    )


def published() -> Published:
    """What is published; of the training videos' lengths only the sum is."""
    frames, masks, intervals = (numbered("", counts) for counts in zip(*TESTING, strict=True))
    return Published(
        training=Part(TRAINING_VIDEOS, TRAINING_FRAMES, numbered("", (None,) * TRAINING_VIDEOS)),
        testing=Part(len(frames), sum(frames.values()), frames),
        size=SIZE,
        anomalous={"labels": intervals, "masks": masks},
        disagreements={frozenset(("labels", "masks")): DIFFERING},
        remarks=(
            *(
                f"Training video {video} is not clean: frames {first} to {last} (from 1), {seen}."
                for video, first, last, seen in UNCLEAN
            ),
            "Published figures train on these frames; data.exclude=hf2vad leaves them out.",
        ),
    )


def unclean() -> dict[str, tuple[range, ...]]:
    """Training video → positions, from 0, that show what a test video would call anomalous.

    Source: HF2-VAD's notes, read as 1-based with the last frame included, as all of the set's.
    """
    found: dict[str, tuple[range, ...]] = {}
    for video, first, last, _ in UNCLEAN:
        found[video] = (*found.get(video, ()), range(first - 1, last))
    return found


def _masks(root: Path, test: Path) -> Path | None:
    places = (root, root.parent, test)
    folders = [place / "ground_truth_demo" / MASKS for place in places]
    folders += [place / MASKS for place in places]
    folders += [test / "masks", root / "masks"]
    return next((folder for folder in folders if folder.is_dir()), None)


def frame_labels_of(path: Path) -> Literal["masks", "intervals"]:
    """From which of the set's two sources a file of frame labels was made.

    Cells of intervals (`gt`) say it by their form, labels frame by frame by the published number
    of anomalous frames. Where they have neither number, as of a part of the set, one array is taken
    for intervals and a vector a video for masks: so they were repacked. A file that cannot be read
    is taken for intervals: who reads it says what is wrong with it.
    """
    import scipy.io

    try:
        if path.suffix == ".mat":
            vectors = scipy.io.loadmat(path)
            otherwise = "intervals" if "gt" in vectors else "masks"
            arrays = [of for name, of in vectors.items() if name.isdecimal()]
        else:
            otherwise, arrays = "intervals", [np.load(path, allow_pickle=False)]
        anomalous = sum(int(array.sum()) for array in arrays)
    except Exception:  # NumPy and SciPy raise half a dozen kinds each for files not their own
        return "intervals"
    _, masks, intervals = (sum(counts) for counts in zip(*TESTING, strict=True))
    return {masks: "masks", intervals: "intervals"}.get(anomalous, otherwise)


def _labels(
    asked: str | Path | None, root: Path, masks: Path | None, files: Sequence[Path]
) -> Path | None:
    """The source that is asked for, or the first that is there.

    Args:
      asked: `masks`, `intervals`, a path or None.
      root: of the set.
      masks: folder of pixel masks, or None.
      files: of frame labels, in the order of preference.
    """
    if asked is None:
        return masks or next(iter(files), None)
    if str(asked) not in ("masks", "intervals"):
        return given_labels(asked)
    made = [file for file in files if frame_labels_of(file) == str(asked)]
    if str(asked) == "masks" and masks:
        made.insert(0, masks)
    if made:
        return made[0]
    looked_for = "avenue.mat or frame_labels_avenue.npy"
    if str(asked) == "masks":
        looked_for = f"ground_truth_demo/{MASKS}/, or such labels in {looked_for},"
    others = ", ".join(file.name for file in files)
    raise DataError(
        f"{root} has no {asked}: looked for {looked_for} there and beside it"
        + (f"; {others} {'holds' if len(files) == 1 else 'hold'} the other kind" if files else "")
        + ". Give their path (data.labels, --labels)."
    )

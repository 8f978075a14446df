"""ShanghaiTech: training films or frames, test frames, a frame mask and a pixel mask a video."""

from __future__ import annotations

from pathlib import Path

from vad_jax.data.source import Source
from vad_jax.datasets.dataset import Dataset
from vad_jax.datasets.folder import check_root, given_labels
from vad_jax.datasets.names import inside
from vad_jax.datasets.raw.counts import Part, Published, differences
from vad_jax.datasets.raw.places import PARTS, first_of, located
from vad_jax.datasets.raw.shanghaitech_counts import ANOMALOUS, FRAMES
from vad_jax.datasets.walk import Walk
from vad_jax.types import DataError

FPS = 24.0
SIZE = (480, 856)
NAMES = ("shanghaitech", "ShanghaiTech", "shanghai", "Shanghai", "SHTech")
TRAINING_VIDEOS, TRAINING_FRAMES = 330, 274_515
TRACKS_DIFFERING = 191  # frames on which the public tracks differ from the masks


def open_shanghaitech(root: Path, *, labels: str | Path | None = None) -> Dataset:
    """ShanghaiTech in either layout, compared with its published counts.

    Official, its training part holds films (`training/videos`); repacked, frames
    (`training/frames`), which are taken where both are there.

    Args:
      root: its folder, or one that holds it.
      labels: a user's own path instead of the search.

    Raises:
      DataError: no folder, no such layout, or names that cannot be ordered.
    """
    check_root(root)
    place = located(root, NAMES, {"training and testing": PARTS})
    if not place:
        raise DataError(
            f"{root} is not ShanghaiTech. Looked for training/ and testing/, there or in "
            f"{', '.join(NAMES)}; found {inside(root)}."
        )
    root, _ = place
    walk = Walk(root)
    walk.entries(root)
    train, test = (root / name for name in PARTS)
    training, layout = _training(walk, train)
    testing = walk.part(test)
    if not training and not testing:
        raise DataError(
            f"{root} has no video of ShanghaiTech. Looked for training/videos/, training/frames/ "
            f"and testing/frames/; testing/ holds "
            f"{inside(test) if test.is_dir() else '-'}."
        )
    counts = published()
    walk.notes += differences(train.name, training, counts.training, first=counts.first)
    walk.notes += differences(test.name, testing, counts.testing, first=counts.first)
    places = (test, root)
    masks = [place / name for name in ("test_pixel_mask", "masks") for place in places]
    return Dataset(
        name="shanghaitech",
        layout=layout,
        root=root,
        training=training,
        testing=testing,
        labels=given_labels(labels) if labels else first_of("shanghaitech", root, test),
        masks=next((folder for folder in masks if folder.is_dir()), None),
        fps=FPS,
        ignored=walk.ignored,
        notes=tuple(walk.notes),
    )


def published() -> Published:
    """What is published; of the training videos only number and sum are."""
    return Published(
        training=Part(TRAINING_VIDEOS, TRAINING_FRAMES),
        testing=Part(len(FRAMES), sum(FRAMES.values()), FRAMES),
        size=SIZE,
        anomalous={"labels": ANOMALOUS, "masks": ANOMALOUS},
        disagreements={
            frozenset(("labels", "tracks")): TRACKS_DIFFERING,
            frozenset(("masks", "tracks")): TRACKS_DIFFERING,
        },
        own_names=True,
    )


def _training(walk: Walk, folder: Path) -> tuple[tuple[Source, ...], str]:
    """The training videos and the layout that they show."""
    films, frames = folder / "videos", folder / "frames"
    if not films.is_dir():
        return walk.part(folder), "repacked"
    if not frames.is_dir():
        return walk.videos(films), "official"
    walk.notes.append("training/ holds videos/ and frames/: the frames are taken")
    return walk.part(folder), "repacked"

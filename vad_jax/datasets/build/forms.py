"""In which forms a built set is there, and what a record of it holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow_datasets as tfds

SIZES = {"original": None, "256": (256, 256), "64": (64, 64)}


@dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
    """How frames are delivered.

    Attributes:
      size: (height, width) to resize to, or None for the raw size.
      intervals: whether labels are intervals rather than what the masks say (Avenue).
    """

    size: tuple[int, int] | None = None
    intervals: bool = False


def configs(*, intervals: bool = False) -> list[Config]:
    """The configs of a set, the default first; with those for labels by intervals if there are."""
    found = []
    for suffix in ("", "_intervals") if intervals else ("",):
        for name, size in SIZES.items():
            frames = f"frames of {size[0]}x{size[1]} pixels" if size else "frames as they are"
            about = frames + (", labels by intervals" if suffix else "")
            found.append(
                Config(name + suffix, description=about, size=size, intervals=bool(suffix))
            )
    return found


def features() -> tfds.features.FeaturesDict:
    """What a record holds; masks and boxes are in pixels of the raw frame, whatever the config."""
    track = {
        "track": np.int32,
        "frame": tfds.features.Scalar(np.int32, doc="0-based, from the video's beginning"),
        "box": tfds.features.Tensor(shape=(4,), dtype=np.int32, doc="x0, y0, x1, y1, inclusive"),
    }
    return tfds.features.FeaturesDict(
        {
            "video": tfds.features.Text(),
            "video_index": tfds.features.Scalar(np.int32, doc="of the video in its split"),
            "first_frame": tfds.features.Scalar(np.int32, doc="0-based"),
            "video_frames": tfds.features.Scalar(np.int32, doc="of the whole video"),
            "fps": tfds.features.Scalar(np.float32, doc="frames a second, 0 where unknown"),
            "frames": tfds.features.Sequence(
                tfds.features.Image(), doc="consecutive: at most 128, none that cannot be read"
            ),
            "label": tfds.features.Sequence(np.uint8),
            "class": tfds.features.Text(doc="of the whole video"),
            "mask": tfds.features.Sequence(
                tfds.features.Image(shape=(None, None, 1), encoding_format="png")
            ),
            "tracks": tfds.features.Sequence(track),
        }
    )

"""Footage that is made: scenes, their videos with the truth to the pixel, and folders of them."""

from vad_jax.datasets.synthetic.scene import Scene, make_scene
from vad_jax.datasets.synthetic.things import KINDS
from vad_jax.datasets.synthetic.videos import (
    FPS,
    HELD_OUT,
    STREAM,
    TEST,
    TRAIN,
    SyntheticVideo,
    video,
)
from vad_jax.datasets.synthetic.writer import SCENES, plan, runs, write

__all__ = [
    "FPS",
    "HELD_OUT",
    "KINDS",
    "SCENES",
    "STREAM",
    "TEST",
    "TRAIN",
    "Scene",
    "SyntheticVideo",
    "make_scene",
    "plan",
    "runs",
    "video",
    "write",
]

"""Score parts of whole videos and of streams: one mechanism, constant memory."""

from vad_jax.scoring.results import Collected, frames_of
from vad_jax.scoring.slots import Slots
from vad_jax.scoring.stream import Stream, compiled
from vad_jax.scoring.videos import Video, score_videos
from vad_jax.types import VideoScores

__all__ = [
    "Collected",
    "Slots",
    "Stream",
    "Video",
    "VideoScores",
    "compiled",
    "frames_of",
    "score_videos",
]

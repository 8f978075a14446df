"""Score parts of whole videos and of streams: one mechanism, constant memory."""

from vad_jax.scoring.videos import Stream, Video, VideoScores, compiled, score_video, score_videos

__all__ = ["Stream", "Video", "VideoScores", "compiled", "score_video", "score_videos"]

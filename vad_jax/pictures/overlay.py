"""A scored film to look at: its frames, what is strange in them, and the curve of the score."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from vad_jax.data.decoder import Decoded, stated
from vad_jax.data.source import Source
from vad_jax.pictures.mp4 import Mp4
from vad_jax.pictures.regions import Regions
from vad_jax.pictures.score_strip import Curve, Strip
from vad_jax.types import DataError

RATE = 25.0  # frames a second of what does not say when its frames are seen
_SMALLEST = 480  # pixels of width, so that letters can be read
_LINE = 20  # pixels of height of what is said under a frame
_INK, _RED, _AMBER, _GROUND = (235, 235, 235), (70, 70, 255), (60, 190, 255), (26, 24, 21)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(
    path: Path, source: Source, curve: Curve, regions: Regions, *, caveat: str | None = None
) -> None:
    """Writes an mp4 (H.264) with the whole curve under each frame.

    Frames in alarm have a red frame, and where the score is above the threshold boxes.

    Args:
      path: of the mp4; it appears when it is whole.
      source: the video, decoded once more at its own size.
      curve: of its scores. Where its times are seconds the frames are seen at these; else `RATE`
        a second.
      regions: of its frames.
      caveat: a few words that stand under every frame; or None.

    Raises:
      DataError: no frame can be read, it has another number of frames than scores, or no H.264 can
        be written here.
      OSError: not all frames could be written.
    """
    temporary = path.with_name(f".{os.getpid()}.part.mp4")
    boxes, drawn, seen = regions.in_step(), 0, _seen(curve)
    alarms = _in_alarm(curve)
    with contextlib.ExitStack() as stack:
        stack.callback(temporary.unlink, missing_ok=True)
        film = None
        for number, picture in enumerate(Decoded(source, colour="bgr")):
            if number == len(curve.values):
                raise DataError(f"Video {source.name} has more frames than when it was scored.")
            if film is None:  # a broken frame before the first good one is not drawn
                if isinstance(picture, DataError):
                    continue
                frame = _enlarged(picture.pixels)
                height, width = frame.shape[:2]
                scale = width / _SMALLEST
                strip = Strip(curve, width, scale)
                line = 2 * round(_LINE * scale / 2)
                film = stack.enter_context(Mp4(temporary, (height + line + strip.height, width)))
            if isinstance(picture, DataError):
                frame = np.zeros_like(frame)
            else:
                frame = _enlarged(picture.pixels).copy()
            found = boxes(number)
            if curve.threshold is not None and curve.values[number] > curve.threshold:
                _mark(frame, found, scale)
            if alarms[number]:
                thick = max(2, round(3 * scale))
                cv2.rectangle(frame, (0, 0), (width - 1, height - 1), _RED, thick)
            said = _said(curve, number, bool(alarms[number]), caveat, (line, width), scale)
            film.write(np.concatenate([frame, said, strip.at(number)]), seen[number])
            drawn += 1
        if film is None:
            raise DataError(f"Video {source.name} has no readable frame to draw.")
        film.close()
        if stated(temporary)[1] != drawn:  # what could not be kept is not always said
            free = shutil.disk_usage(path.parent).free
            raise OSError(errno.ENOSPC, f"not all frames were written ({free} bytes free)", path)
        temporary.replace(path)


def _seen(curve: Curve) -> np.ndarray:
    """When each frame is seen in the mp4, seconds `[F]` from 0."""
    if not curve.in_seconds:
        return np.arange(len(curve.values)) / RATE
    return curve.times - curve.times[0]


def _in_alarm(curve: Curve) -> np.ndarray:
    inside = np.zeros(len(curve.values), bool)
    for first, behind in curve.alarms.tolist():
        inside[first:behind] = True
    return inside


def _mark(frame: np.ndarray, boxes: list[list[float]], scale: float) -> None:
    height, width = frame.shape[:2]
    for x0, y0, x1, y1 in boxes:
        corner = round(x0 * width), round(y0 * height)
        other = round(x1 * width) - 1, round(y1 * height) - 1
        cv2.rectangle(frame, corner, other, _RED, max(1, round(scale)))


def _said(
    curve: Curve,
    number: int,
    alarm: bool,
    caveat: str | None,
    size: tuple[int, int],
    scale: float,
) -> np.ndarray:
    """The line under a frame: its number, time and score; on the right what there is to beware."""
    line = np.full((*size, 3), _GROUND, np.uint8)
    value = curve.values[number]
    when = f"   {curve.times[number]:.2f} s" if curve.in_seconds else ""
    score = f"{value:.2f}" if np.isfinite(value) else "none"
    how = {"fontFace": _FONT, "fontScale": 0.4 * scale, "thickness": max(1, round(scale))}

    def put(text: str, x: int, colour: tuple[int, int, int]) -> int:
        at = x, round(size[0] - 6 * scale)
        cv2.putText(line, text, at, color=colour, lineType=cv2.LINE_AA, **how)
        return x + cv2.getTextSize(text, **how)[0][0]

    end = put(f"frame {number}{when}   score {score}", round(6 * scale), _INK)
    if alarm:
        put("ALARM", end + round(14 * scale), _RED)
    if caveat:
        wide = cv2.getTextSize(caveat, **how)[0][0]
        put(caveat, size[1] - wide - round(6 * scale), _AMBER)
    return line


def _enlarged(frame: np.ndarray) -> np.ndarray:
    """At least `_SMALLEST` wide, both sides even, as codecs want them."""
    height, width = frame.shape[:2]
    scale = max(1.0, _SMALLEST / width)
    size = [max(2, 2 * round(scale * side / 2)) for side in (width, height)]
    return frame if size == [width, height] else cv2.resize(frame, size)

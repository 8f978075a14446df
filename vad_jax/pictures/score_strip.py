"""The curve of a film's score, drawn once, as a strip in which a mark wanders with the film."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

GROUND, INK, PALE, RED = "#15181a", "#ebebeb", "#9aa4ab", "#ff4646"
_DPI = 100
_LEGEND, _CURVE, _AXIS = 14, 84, 18  # pixels of height: of a line of the legend, …
_MARGIN = 46  # pixels on the left, for numbers
_APART = 0.08  # of the range of scores, above and below


class Curve(NamedTuple):
    """What a strip shows.

    Attributes:
      values: scores `[F]`, NaN where there is none.
      times: `[F]` rising: seconds, or numbers of frames.
      in_seconds: which of the two.
      threshold: a line; or None.
      threshold_says: where it comes from, in words; or why there is none.
      alarms: `[S, 2]`, frames that are in alarm, half-open.
      step: scored frames so far apart are joined by the line.
      boxed: whether boxes are drawn in the frames.
    """

    values: np.ndarray
    times: np.ndarray
    in_seconds: bool
    threshold: float | None
    threshold_says: str
    alarms: np.ndarray
    step: int
    boxed: bool


class Strip:
    """The strip under a film's frames.

    Args:
      curve: what it shows.
      width: in pixels.
      scale: of letters and lines; 1 is for a width of 480.

    Attributes:
      height: in pixels, even.
    """

    def __init__(self, curve: Curve, width: int, scale: float):
        lines = _legend(curve)
        parts = np.array([_LEGEND * len(lines) + 6, _CURVE, _AXIS]) * scale
        self.height = 2 * round(parts.sum() / 2)
        self._curve, size = curve, (width, self.height)
        figure = Figure(figsize=[side / _DPI for side in size], dpi=_DPI, facecolor=GROUND)
        canvas = FigureCanvasAgg(figure)
        left, right = _MARGIN * scale / width, 1 - 10 * scale / width
        bottom, top = parts[2] / self.height, 1 - parts[0] / self.height
        self._axes = figure.add_axes((left, bottom, right - left, top - bottom))
        _draw(self._axes, curve, scale)
        for number, handles in enumerate(lines):
            figure.legend(
                handles=handles,
                loc="upper left",
                bbox_to_anchor=(0, 1 - number * _LEGEND * scale / self.height),
                ncols=len(handles),
                fontsize=6.4 * scale,
                labelcolor=INK,
                frameon=False,
                borderpad=0.4,
                columnspacing=1.5,
                handlelength=1.6,
            )
        canvas.draw()
        drawn = np.asarray(canvas.buffer_rgba())[..., :3]
        self._image = np.ascontiguousarray(drawn[..., ::-1])
        assert self._image.shape[:2] == size[::-1]
        box = self._axes.get_window_extent()
        self._low, self._top = (round(self.height - y) for y in (box.y0, box.y1))

    def at(self, number: int) -> np.ndarray:
        """The strip as it is under a frame, uint8 `[h, w, 3]`, BGR."""
        strip, time = self._image.copy(), self._curve.times[number]
        x = round(float(self._axes.transData.transform((time, 0.0))[0]))
        cv2.line(strip, (x, self._top), (x, self._low), (200, 190, 150), 1)
        return strip


def _draw(axes: Any, curve: Curve, scale: float) -> None:
    axes.set_facecolor(GROUND)
    shown = curve.values[np.isfinite(curve.values)]
    marks = [0.0] if curve.threshold is None else [0.0, curve.threshold]
    low, high = (float(f([*shown, *marks])) for f in (np.min, np.max))
    pad = _APART * (high - low) or 0.5
    axes.set_ylim(low - pad, high + pad)
    begin, end = float(curve.times[0]), float(curve.times[-1])
    axes.set_xlim(begin, end if end > begin else begin + 1)
    for first, behind in curve.alarms.tolist():
        until = curve.times[min(behind, len(curve.times) - 1)]
        axes.axvspan(curve.times[first], until, color=RED, alpha=0.25, lw=0)
    axes.axhline(0, color=PALE, lw=0.7 * scale, ls=":")
    if curve.threshold is not None:
        axes.axhline(curve.threshold, color=RED, lw=0.9 * scale, ls="--")
    axes.plot(*_joined(curve), color=INK, lw=0.9 * scale, marker=".", ms=_dots(curve, scale))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=not curve.in_seconds))
    axes.xaxis.set_major_formatter(FuncFormatter(_clock if curve.in_seconds else _frame))
    axes.tick_params(colors=PALE, labelsize=6 * scale, width=0.6 * scale, length=2.5 * scale, pad=2)
    for name, spine in axes.spines.items():
        spine.set(visible=name in ("left", "bottom"), color=PALE, linewidth=0.6 * scale)


def _joined(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Times and scores of the line: broken where more than a step of frames has no score."""
    scored = np.flatnonzero(np.isfinite(curve.values))
    breaks = np.flatnonzero(np.diff(scored) > curve.step) + 1
    times, values = curve.times[scored].astype(float), curve.values[scored]
    return np.insert(times, breaks, np.nan), np.insert(values, breaks, np.nan)


def _dots(curve: Curve, scale: float) -> float:
    """Of few scores each is a dot: one that stands alone is no line."""
    return 2.4 * scale if np.isfinite(curve.values).sum() <= 100 else 0.0


def _legend(curve: Curve) -> list[list[Any]]:
    """What is explained, line by line: each fits a width of 480."""
    score = Line2D([], [], color=INK, lw=1, label="score, higher = stranger")
    zero = Line2D([], [], color=PALE, lw=1, ls=":", label="0: mean of normal clips")
    if curve.threshold is None:
        words = f"no threshold: {curve.threshold_says}"
        return [[score, zero], [Line2D([], [], lw=0, label=words)]]
    words = f"threshold {curve.threshold:.3g}, {curve.threshold_says}"
    threshold = Line2D([], [], color=RED, lw=1, ls="--", label=words)
    alarm = Patch(color=RED, alpha=0.35, lw=0, label="alarm")
    lines = [[score, zero, alarm], [threshold]]
    if curve.boxed:
        words = "where the error is above that of 99 % of normal places, while the score is high"
        lines.append([Patch(fill=False, edgecolor=RED, lw=1, label=words)])
    return lines


def _clock(seconds: float, place: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02.0f}"
    return f"{minutes}:{rest:02.0f}" if minutes else f"{rest:g} s"


def _frame(number: float, place: int) -> str:
    return f"frame {number:.0f}"

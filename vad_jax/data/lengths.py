"""Whether a film is whole: what its container states against what is in it."""

from __future__ import annotations

from array import array
from pathlib import Path

import av
import numpy as np

# Containers that state how long they last; elsewhere FFmpeg guesses it from what is there.
STATING = frozenset({"mov", "matroska", "flv", "asf", "mxf"})
FROM_ZERO = frozenset({"matroska", "flv"})  # state their end, whenever they begin
SLACK_SECONDS = 0.5  # of statements that are round, or mean another stream's end
JUMP_SECONDS = 1.0
MANY = 10  # usual steps between frames; a step longer than that is a jump


class Lengths:
    """One reading of a film: the times of its frames, and what does not fit.

    Attributes:
      complaint: the first of the decoder's complaints, with where it came; empty where there is
        none.
    """

    def __init__(self) -> None:
        self.complaint = ""
        self._frames = 0
        self._known = array("d")  # times of frames that have one
        self._places = array("q")  # and which frames they are
        self._fell: int | None = None
        self._end, self._last_packet = -np.inf, -np.inf
        self._counted, self._last_place = 0, -1  # frames that AVI states, and the last there is

    def begin(
        self,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        *,
        without_times: bool,
    ) -> None:
        """Takes what the container states, and how its times are to be read.

        Args:
          container, stream: PyAV's, opened.
          without_times: whether the times that FFmpeg gives are made up.
        """
        names = container.format.name.split(",")
        rate = stream.average_rate or stream.guessed_rate
        self._stream, self._without_times = stream, without_times
        self._start = (container.start_time or 0) / 1e6
        # AVI holds no times. Its frames follow each other at its rate; FFmpeg tells when each was
        # decoded, which is later where frames are reordered.
        self._rate = float(rate) if "avi" in names and rate else None
        self._counted = stream.frames if "avi" in names else 0
        self._begun = False
        self._stated = None
        if container.duration and STATING & set(names):
            begins = 0.0 if FROM_ZERO & set(names) else self._start
            self._stated = begins + container.duration / 1e6 - self._start

    def packet(self, packet: av.Packet) -> None:
        """Counts a packet of any stream."""
        self._begun = True
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or self._without_times or packet.is_discard:
            return
        mine = packet.stream.index == self._stream.index
        if mine and self._counted:  # empty ones, that repeat the frame before, are counted, too
            self._last_place = max(self._last_place, packet.dts)
        begins = float(time * packet.time_base) - self._start
        self._end = max(self._end, begins + float((packet.duration or 0) * packet.time_base))
        if mine:
            self._last_packet = max(self._last_packet, begins)

    def frame(self, frame: av.VideoFrame) -> float | None:
        """Counts a frame of the stream; returns its time, seconds from the film's beginning.

        None where it has no time of its own, or none after the frame's before it.
        """
        place, self._frames = self._frames, self._frames + 1
        seconds = None
        if self._rate and self._stream.codec_context.has_b_frames:
            seconds = place / self._rate
        elif frame.time is not None and not self._without_times:
            seconds = frame.time - self._start
        if seconds is None:
            return None
        if self._known and seconds <= self._known[-1]:
            if self._fell is None and self._known[-1] - seconds > JUMP_SECONDS:
                self._fell = place
            return None
        self._known.append(seconds)
        self._places.append(place)
        return seconds

    def complain(self, said: str | None) -> None:
        """Keeps the first complaint."""
        if said and not self.complaint:
            where = f"after {self._frames} frames" if self._begun else "on opening"
            self.complaint = f"{where}: {said}"

    def verdict(self, what: str, path: Path) -> str | None:
        """What is amiss with the film, one line that begins with `what`; None where nothing is."""
        known = np.asarray(self._known)
        steps = np.diff(known)
        usual = float(np.median(steps)) if len(steps) else 0.0
        missing, jumps = self._missing(known, usual), self._jumps(known, steps, usual)
        if self.complaint:
            missing.append(f"the decoder complains {self.complaint}")
        if not missing and not jumps:
            return None
        several = "damaged, put together of several, or recorded on motion alone"
        cause = "cut off or damaged" if missing else several
        return f"{what}: {'; '.join([*missing, *jumps])} ({path}). The film is {cause}."

    def _missing(self, known: np.ndarray, usual: float) -> list[str]:
        if self._last_place + 1 < self._counted:
            return [f"{self._frames} frames decoded, its container says {self._counted}"]
        slack = max(SLACK_SECONDS, 3 * usual)
        found = []
        if self._stated is not None and self._end < self._stated - slack:
            found.append(f"it ends at {self._end:.2f} s, its container says {self._stated:.2f} s")
        if len(known) and self._last_packet > known[-1] + slack:
            found.append(
                f"its last {self._last_packet - known[-1]:.2f} s, after {self._frames} frames, "
                "cannot be decoded"
            )
        return found

    def _jumps(self, known: np.ndarray, steps: np.ndarray, usual: float) -> list[str]:
        found = []
        if self._fell is not None:
            found.append(f"its times fall back at frame {self._fell}")
        (wide,) = np.nonzero(steps > max(JUMP_SECONDS, MANY * usual))
        if len(wide):
            first, more = wide[0], f", and {len(wide) - 1} times more" if len(wide) > 1 else ""
            found.append(
                f"{steps[first]:.2f} s are missing after frame {self._places[first]} "
                f"({known[first]:.2f} s){more}"
            )
        return found

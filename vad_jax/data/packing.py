"""Windows on their way to the device: each frame goes once, and each window finds its own there.

Letters: W windows, B rows of a batch, L frames of a window, U frames that B windows can have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vad_jax.data.cutting import Window
from vad_jax.data.spans import frame_indices
from vad_jax.types import Batch, DataError, InputSpec


def most_frames(spec: InputSpec, rows: int) -> int:
    """U: the frames of so many windows that follow one another without a gap, each frame once."""
    length = spec.lead + spec.frames
    return min(rows * length, (rows - 1) * spec.step + (length - 1) * spec.stride + 1)


def taken(spec: InputSpec, waiting: list[Window], rows: int) -> tuple[list[Window], list[Window]]:
    """The next windows of a batch of `rows`, and the rest.

    Behind a gap windows share fewer frames: there may be room for fewer, at least for one.
    """
    number = min(rows, len(waiting))
    while number > 1 and len(_numbers(spec, waiting[:number])[0]) > most_frames(spec, rows):
        number -= 1
    return waiting[:number], waiting[number:]


def packed(spec: InputSpec, windows: Sequence[Window], rows: int) -> Batch:
    """A batch of `rows` windows, those that are missing masked, its shapes always the same.

    Args:
      spec: of the windows.
      windows: at most `rows`, as `taken` gives them.
      rows: B.

    Returns:
      `chunk` `[U, H, W, C]`, every frame once; `index` int32 `[B, L]`, where in it a window has its
      frames (`gathered`); `mask`, `video` (0) and `frame`, the windows' first, `[B]`.

    Raises:
      DataError: a frame of another size than the spec's.
    """
    size, length = (spec.height, spec.width, spec.channels), spec.lead + spec.frames
    dtype = windows[0].frames[0].dtype if windows else np.uint8
    chunk = np.zeros((most_frames(spec, rows), *size), dtype)
    first, index = np.zeros(rows, np.int32), np.zeros((rows, length), np.int32)
    if windows:
        _, places = _numbers(spec, windows)
        index[: len(windows)] = places
        first[: len(windows)] = [window.first for window in windows]
        frames = (frame for window in windows for frame in window.frames)
        for place, frame in dict(zip(places.ravel().tolist(), frames, strict=True)).items():
            if frame.shape != size:
                raise DataError(f"A frame is {list(size)} [H, W, C]; this one {frame.shape}.")
            chunk[place] = frame
    mask = np.arange(rows) < len(windows)
    video = np.zeros(rows, np.int32)
    return {"chunk": chunk, "index": index, "mask": mask, "video": video, "frame": first}


def gathered(batch: Batch) -> Batch:
    """A packed batch as methods know it: `frames` `[B, L, H, W, C]`. Another stays as it is."""
    if "chunk" not in batch:
        return batch
    rest = {name: value for name, value in batch.items() if name not in ("chunk", "index")}
    return {"frames": batch["chunk"][batch["index"]], **rest}


def _numbers(spec: InputSpec, windows: Sequence[Window]) -> tuple[np.ndarray, np.ndarray]:
    """The frames of the windows, each once, and which of them each window has, `[W, L]`."""
    every = frame_indices(spec, np.array([window.first for window in windows]))
    numbers, places = np.unique(every, return_inverse=True)
    return numbers, places.reshape(every.shape)

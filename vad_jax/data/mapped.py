"""Frames in a file, mapped while they are read: a memory map holds its file open."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vad_jax.data import limits

MOST = 64  # files open at a time, of whatever number of videos; opening one takes 0.1 ms


class MappedFrames:
    """An array in an .npy file that behaves as NumPy's own where it is indexed or converted.

    What indexing gives may be a view of the map: it holds the file open as long as it lives.

    Raises:
      OSError, ValueError, EOFError: no such file, or not one whole array.

    Attributes:
      shape, dtype, ndim: of the array.
    """

    def __init__(self, path: Path):
        about = path.stat()
        self._what = path, about.st_ino, about.st_mtime_ns
        whole = _open(*self._what)
        self.shape, self.dtype, self.ndim = whole.shape, whole.dtype, whole.ndim

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        return _open(*self._what)[index]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(_open(*self._what), dtype=dtype, copy=copy)


@lru_cache(maxsize=MOST)
def _open(path: Path, node: int, changed: int) -> np.ndarray:
    """A file's map; a file that was written anew under the same path is another one."""
    with limits.of_open_files():
        return np.load(path, mmap_mode="r", allow_pickle=False)

"""Entries of the cache of decoded frames: each a folder that is there whole or not at all.

An entry holds `frames.npy`, `about.json`, and what observers saw of the raw frames, a file each.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vad_jax import atomic
from vad_jax.data import limits
from vad_jax.data.mapped import MappedFrames
from vad_jax.data.observing import Result

log = logging.getLogger(__name__)

PART = ".part-"  # begins the names of folders that hold half an entry
FORGOTTEN_SECONDS = 86_400.0  # of a half entry that nobody writes to: its process was killed


def tidy(cache: Path) -> None:
    """Removes half entries of processes that were killed; of living ones none is so old."""
    for part in cache.glob(f"{PART}*"):
        with contextlib.suppress(OSError):  # another process tidies, too
            newest = max(path.stat().st_mtime for path in (part, *part.rglob("*")))
            if time.time() - newest > FORGOTTEN_SECONDS:
                shutil.rmtree(part)


@contextlib.contextmanager
def new_entry(entry: Path) -> Iterator[Path]:
    """A folder to fill that becomes the entry once all is written; on an error nothing is left."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix=PART) as folder:
        part = Path(folder) / "entry"
        part.mkdir()
        yield part
        try:
            part.rename(entry)
        except OSError:  # another process was quicker; its entry is as good
            if not entry.is_dir():
                raise


def write_about(entry: Path, about: dict) -> None:
    """Notes what there is to know of an entry's frames."""
    (entry / "about.json").write_text(json.dumps(about))


def read_entry(entry: Path, name: str) -> tuple[MappedFrames, dict] | None:
    """The frames of an entry, memory-mapped, and what is known of them.

    None where there is no entry; a damaged one is removed, with a warning that names the video.

    Raises:
      DataError: too many files are open.
      OSError: the entry cannot be read; that does not make it damaged.
    """
    if not entry.is_dir():
        return None
    try:
        with limits.of_open_files():
            about = json.loads((entry / "about.json").read_text())
        array = MappedFrames(entry / "frames.npy")
    except (FileNotFoundError, ValueError, EOFError) as error:
        log.warning("Decoding %s again: its cache is damaged (%s).", name, error)
        shutil.rmtree(entry)
        return None
    return array, about


def write_observed(entry: Path, rule: str, result: Result) -> None:
    """Keeps what the observer saw whose key is `rule`."""
    with atomic.whole(_observed(entry, rule), "wb") as file:
        np.savez(file, **result)


def read_observed(entry: Path, rule: str, name: str) -> Result | None:
    """What the observer saw whose key is `rule`; None where it was not kept or is damaged."""
    path = _observed(entry, rule)
    if not path.is_file():
        return None
    try:
        with limits.of_open_files(), np.load(path, allow_pickle=False) as file:
            return {part: file[part] for part in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        log.warning("Observing %s again: what was kept is damaged (%s).", name, error)
        return None


def _observed(entry: Path, key: str) -> Path:
    return entry / f"observed-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


@dataclass(frozen=True, eq=False)
class Observed(Mapping[str, Result]):
    """What observers saw of one video, by their keys; read when it is asked for, and not kept.

    Attributes:
      entry: of the video.
      name: of the video.
      rules: the observers' keys.
    """

    entry: Path
    name: str
    rules: tuple[str, ...]

    def __getitem__(self, rule: str) -> Result:
        found = read_observed(self.entry, rule, self.name) if rule in self.rules else None
        if found is None:
            raise KeyError(rule)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

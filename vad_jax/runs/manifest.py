"""`manifest.json` of an output folder: which videos are done, by what, and what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vad_jax import atomic
from vad_jax.data.frames import digest
from vad_jax.data.source import Source
from vad_jax.types import CheckpointError, DataError

NAME = "manifest.json"
TABLE, EVENTS, FILM = ".csv", ".events.csv", ".mp4"  # of a video's files, behind its name

_ENTRY = {"source", "content", "scorer", "frames", "scored", "notes", "files"}


class Manifest:
    """What an output folder holds.

    Args:
      folder: of the output.
      scorer: hash of all that a score depends on but the video.

    Raises:
      CheckpointError: a damaged manifest.
    """

    def __init__(self, folder: Path, scorer: str):
        self._folder, self._path, self._scorer = folder, folder / NAME, scorer
        self._entries: dict[str, dict[str, Any]] = {}
        self._begun: set[str] = set()  # files of a video that was not finished
        if self._path.exists():
            try:
                kept = json.loads(self._path.read_text())
                found, begun = kept["videos"], kept["begun"]
                if not all(entry.keys() >= _ENTRY for entry in found.values()):
                    raise ValueError("an entry that is not whole")
                self._entries, self._begun = found, set(begun)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CheckpointError(
                    f"{self._path} is damaged ({error}), so it is not known which files are whose. "
                    "Give another --output, or remove the manifest and the files beside it."
                ) from None

    def find(
        self, video: Source, content: str, targets: dict[str, dict[str, Any]]
    ) -> dict[str, Any] | None:
        """The entry of a video that is done: same bytes, same scorer, its files as written.

        Args:
          video: the video.
          content: hash of its bytes.
          targets: the files of the video, and the options that each depends on.

        Raises:
          DataError: another video of this name was scored into the folder.
        """
        entry = self._entries.get(video.name)
        if entry is None:
            return None
        if entry["source"] != place(video) and entry["content"] != content:
            raise DataError(
                f"Video {video.name}: {self._folder} holds the scores of another video of this "
                f"name, {entry['source']}. Give another --output."
            )
        if entry["scorer"] != self._scorer or entry["content"] != content:
            return None
        for name, used in targets.items():
            written, path = entry["files"].get(name), self._folder / name
            if not written or written["options"] != used or not path.is_file():
                return None
            if atomic.sha256(path) != written["sha256"]:
                return None
        return entry

    def make_room(self, video: Source) -> None:
        """Removes what was written of an earlier content of a video: it must not look current.

        Raises:
          DataError: a file in the way that the manifest does not know.
        """
        mine = _files(video)
        known = {*self._entries.pop(video.name, {"files": {}})["files"], *self._begun}
        for name in sorted(mine):
            path = self._folder / name
            if not path.exists():
                continue
            if name not in known:
                raise DataError(
                    f"Video {video.name}: {path} is there and was not written by this command. "
                    "Give another --output."
                )
            path.unlink()
        self._begun |= mine
        self._write()

    def add(self, video: Source, entry: dict[str, Any]) -> None:
        """Notes a video that is done."""
        self._entries[video.name] = {"scorer": self._scorer, **entry}
        self._begun -= _files(video)
        self._write()

    def _write(self) -> None:
        with atomic.whole(self._path) as file:
            json.dump({"videos": self._entries, "begun": sorted(self._begun)}, file, indent=1)
            file.write("\n")


def _files(video: Source) -> set[str]:
    return {f"{video.name}{ending}" for ending in (TABLE, EVENTS, FILM)}


def place(video: Source) -> str:
    """Where a video lies."""
    return str(video.file or video.images[0].parent)


def content_of(video: Source) -> str:
    """SHA-256 of a video's raw bytes. Raises DataError where they cannot be read."""
    try:
        return digest(video)
    except OSError as error:
        raise DataError(
            f"Video {video.name}: {error.filename} cannot be read ({error.strerror})."
        ) from None

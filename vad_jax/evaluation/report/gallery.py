"""The pictures of a workdir as the page holds them: large ones by kind, small ones by click."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from vad_jax.evaluation.score_files import PICTURES_INDEX, TIMELINE_INDEX, Scored
from vad_jax.types import DataError

MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
KINDS = {  # of frames by their scores; they come first
    "miss": "Worst misses",
    "false_alarm": "Worst false alarms",
    "hit": "Strongest hits",
}
SHOWN = 12  # pictures of a kind
TRUTH = {1: "anomalous", 0: "normal"}


def cards(folder: Path) -> list[dict[str, Any]]:
    """The large pictures by kind.

    Args:
      folder: perhaps with `index.json`, a list of `file` (inside `folder`), `kind` (one of
        `KINDS`, or what a method calls it), `group` (the heading of a method's own kind; without it
        the kind), `caption`, and either `video`, `frame`, `score`, `label` or a `title`.

    Raises:
      DataError: an index of another form, or a picture that is missing or outside the folder.
    """
    index = folder / PICTURES_INDEX
    if not index.is_file():
        return []
    try:
        entries = json.loads(index.read_text(encoding="utf-8"))
        groups: dict[str, list[Any]] = {title: [] for title in KINDS.values()}
        for entry in entries:
            title = KINDS.get(entry["kind"]) or entry.get("group") or entry["kind"].capitalize()
            groups.setdefault(title, []).append(entry)
        cards = {
            title: [_card(folder, entry) for entry in group[:SHOWN]]
            for title, group in groups.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{index} is no list of pictures ({error!r}). Each has file, video, frame, score, "
            "label, kind and caption, or title; make them anew with `evaluate`."
        ) from error
    return [{"title": title, "cards": group} for title, group in cards.items() if group]


def _card(folder, entry):
    source = _source(folder, folder / PICTURES_INDEX, entry["file"])
    card = {"source": source, "caption": entry.get("caption", "")}
    if "title" in entry:
        return {**card, "title": entry["title"], "place": "", "about": ""}
    truth = TRUTH.get(entry["label"], "label unknown")
    return {
        **card,
        "title": entry["video"],
        "place": f", frame {entry['frame']}",
        "about": f"score {entry['score']:.3g}, {truth}",
    }


def clicks(folder: Path, scored: Scored) -> dict[str, Any] | None:
    """The frames that a click on a timeline shows, by video; None where none were kept.

    Args:
      folder: perhaps with `timeline.json`: `most`, `step`, `height`, `high` (the end of the maps'
        colours), and `frames`, each `video` (its number), `frame`, `file` (inside `folder`) and
        `boxes` (how many).
      scored: the scores and labels that are written beside them.

    Raises:
      DataError: as `cards`.
    """
    index = folder / TIMELINE_INDEX
    if not index.is_file():
        return None
    try:
        about = json.loads(index.read_text(encoding="utf-8"))
        videos = [
            {"name": name, "length": len(labels), "frames": []}
            for name, labels in zip(scored.names, scored.labels, strict=True)
        ]
        for kept in sorted(about["frames"], key=lambda kept: (kept["video"], kept["frame"])):
            video, frame = kept["video"], kept["frame"]
            videos[video]["frames"].append(
                {
                    "frame": frame,
                    "about": _about(scored, video, frame, kept["boxes"]),
                    "picture": _source(folder, index, kept["file"]),
                }
            )
        return {
            "most": int(about["most"]),
            "step": int(about["step"]),
            "height": int(about["height"]),
            "high": f"{about['high']:.3g}" if about["high"] else "",
            "count": len(about["frames"]),
            "videos": videos,
        }
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise DataError(
            f"{index} does not fit scores.npz ({error!r}). Make both anew with `evaluate`."
        ) from error


def _about(scored, video, frame, boxes):
    paper, online = (scored.scores[f"{name}_raw"][video][frame] for name in ("paper", "online"))
    truth = TRUTH.get(int(scored.labels[video][frame]), "label unknown")
    found = f"{boxes} box{'' if boxes == 1 else 'es'}"
    return f"{truth}, paper {paper:.3g}, online {online:.3g}, {found}"


def _source(folder, index, name):
    """A picture as an address that holds all its bytes."""
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()) or file.suffix.lower() not in MEDIA:
        raise DataError(
            f"{index} names {name!r}. A picture is a {', '.join(MEDIA)} file inside {folder}."
        )
    if not file.is_file():
        raise DataError(f"There is no picture {file}, which {index} names.")
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return f"data:{MEDIA[file.suffix.lower()]};base64,{data}"

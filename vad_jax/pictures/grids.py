"""Maps of what a method keeps of normality, side by side: memory items, prototypes.

Letters: h w of the maps, M of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from vad_jax.data.frames import Frames
from vad_jax.detector import Detector
from vad_jax.pictures.frames import HEIGHT, batch_of, byte_image, enlarged, of_windows

# Name among the method's pictures → what its M maps are, and the name of one map of all of them.
KINDS = {
    "matching": ("matching probability of items", None),
    "prototypes": ("attention of prototypes", "normalcy"),
}
_SUM = "sum"


def maps(
    detector: Detector, drawn: Callable[..., Any], videos: Sequence[Frames], scored: Any
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """The method's maps for the strangest and the least strange frame.

    All maps have one range of colours, which the caption states: with cosines and no temperature
    the values lie close together. Arguments and results as `frames.extremes`.
    """
    scores = of_windows(scored, "online_smoothed")
    every = [
        (value, video, frame)
        for video, row in enumerate(scores)
        for frame, value in enumerate(row)
        if np.isfinite(value)
    ]
    seen = []
    for value, video, frame in (max(every), min(every)):
        batch, _ = batch_of(detector, videos[video], frame)
        seen.append((value, video, frame, drawn(detector.variables, batch)))
    for kind, (what, whole) in KINDS.items():
        if kind in seen[0][3]:
            yield from _grids(detector, videos, scored, seen, kind, what, whole)


def _grids(detector, videos, scored, seen, kind, what, whole):
    stacks = [np.asarray(images[kind], np.float32)[0] for *_, images in seen]
    low, high = (float(end([end(stack) for stack in stacks])) for end in (np.min, np.max))
    number = stacks[0].shape[-1]
    for (value, video, frame, images), stack in zip(seen, stacks, strict=True):
        aspect = videos[video].source_size[1] / videos[video].source_size[0]
        target = np.asarray(images["target"])[0]
        shown = enlarged(byte_image(target, detector.method.inputs.colour), aspect)
        share = (stack - low) / max(high - low, 1e-12)
        tiles = [_tile(share[..., i], aspect, str(i + 1)) for i in range(number)]
        if whole:
            total = np.asarray(images[whole], np.float32)[0, ..., 0]
            spread = max(float(total.max() - total.min()), 1e-12)
            tiles.insert(0, _tile((total - total.min()) / spread, aspect, _SUM))
        if len(tiles) % 2:
            tiles.append(np.full_like(tiles[0], 255))
        half = len(tiles) // 2
        grid = np.concatenate([np.concatenate(tiles[:half], 1), np.concatenate(tiles[half:], 1)])
        caption = f"frame · {what} 1 to {number}, colours {low:.4f} to {high:.4f}"
        caption += f", before them their {_SUM} in colours of its own" if whole else ""
        caption += f" (all alike: {1 / number:.4f})" if kind == "matching" else ""
        yield (
            np.concatenate([shown, grid], axis=1),
            {
                "video": scored.names[video],
                "frame": int(frame),
                "score": float(value),
                "label": int(scored.labels[video][frame]),
                "kind": kind,
                "caption": caption,
            },
        )


def _tile(share: np.ndarray, aspect: float, title: str) -> np.ndarray:
    """A map `[h, w]` in 0..1 in colours, with its title and a white border."""
    colours = cv2.applyColorMap(np.round(share * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    tile = enlarged(colours, aspect, height=HEIGHT // 2)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        place = (6, 16)
        cv2.putText(tile, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width, cv2.LINE_AA)
    tile[:2], tile[-2:], tile[:, :2], tile[:, -2:] = 255, 255, 255, 255
    return tile

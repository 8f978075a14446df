"""Maps that a method has to show of a frame, side by side: of memory items, of prototypes.

Letters: h w of the maps, M of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from vad_jax.data.frames import Frames
from vad_jax.detector import Detector
from vad_jax.pictures.frames import HEIGHT, about, byte_image, enlarged, of_rows
from vad_jax.pictures.looking import pictures_of
from vad_jax.types import Picture


def maps(
    detector: Detector, videos: Sequence[Frames], scored: Any
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """The method's maps for the strangest and the least strange frame.

    The maps of one picture have one range of colours in both frames, which the caption states:
    with cosines and no temperature the values lie close together. A picture of a single map stands
    before the others in colours of its own. Arguments and results as `frames.extremes`.
    """
    scores = of_rows(scored, "online_smoothed")
    every = [
        (value, video, frame)
        for video, row in enumerate(scores)
        for frame, value in enumerate(row)
        if np.isfinite(value)
    ]
    places = [(video, frame) for _, video, frame in (max(every), min(every))]
    seen = [
        {name: picture for name, picture in images.items() if picture.kind != "vectors"}
        for images in pictures_of(detector, videos, places)
    ]
    colour = detector.method.inputs.colour
    for name, picture in seen[0].items():
        if picture.kind == "maps" and picture.image.shape[-1] > 1:
            stacks = [np.asarray(images[name].image, np.float32) for images in seen]
            low, high = (float(end([end(stack) for stack in stacks])) for end in (np.min, np.max))
            for place, images, stack in zip(places, seen, stacks, strict=True):
                size = videos[place[0]].source_size
                tiles, wholes = _tiles(images, stack, low, high, size[1] / size[0])
                shown = enlarged(byte_image(_first_image(images), colour), size[1] / size[0])
                number = stack.shape[-1]
                caption = f"frame · {picture.title} 1 to {number}, colours {low:.4f} to {high:.4f}"
                if wholes:
                    caption += f", before them {', '.join(wholes)} in colours of its own"
                caption += f" ({picture.note})" if picture.note else ""
                grid = np.concatenate([shown, _grid(tiles)], axis=1)
                group = f"{picture.title.capitalize()}, the strangest and the least strange frame"
                said = {"kind": name, "group": group, "caption": caption}
                yield grid, said | about(scored, scores, place)


def _first_image(images: Mapping[str, Picture]) -> Picture:
    return next(picture for picture in images.values() if picture.kind == "image")


def _tiles(images, stack, low, high, aspect) -> tuple[list[np.ndarray], list[str]]:
    """The tiles of single maps, then those of the stack, and the titles of the former."""
    tiles, wholes = [], []
    for picture in images.values():
        if picture.kind == "maps" and picture.image.shape[-1] == 1:
            whole = np.asarray(picture.image, np.float32)[..., 0]
            spread = max(float(whole.max() - whole.min()), 1e-12)
            wholes.append(f"the {picture.title}")
            tiles.append(_tile((whole - whole.min()) / spread, aspect, picture.title.split()[0]))
    share = (stack - low) / max(high - low, 1e-12)
    tiles += [_tile(share[..., i], aspect, str(i + 1)) for i in range(stack.shape[-1])]
    return tiles, wholes


def _grid(tiles: list[np.ndarray]) -> np.ndarray:
    """The tiles in two rows."""
    if len(tiles) % 2:
        tiles = [*tiles, np.full_like(tiles[0], 255)]
    half = len(tiles) // 2
    return np.concatenate([np.concatenate(tiles[:half], 1), np.concatenate(tiles[half:], 1)])


def _tile(share: np.ndarray, aspect: float, title: str) -> np.ndarray:
    """A map `[h, w]` in 0..1 in colours, with its title and a white border."""
    colours = cv2.applyColorMap(np.round(share * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    tile = enlarged(colours, aspect, height=HEIGHT // 2)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        place = (6, 16)
        cv2.putText(tile, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width, cv2.LINE_AA)
    tile[:2], tile[-2:], tile[:, :2], tile[:, -2:] = 255, 255, 255, 255
    return tile

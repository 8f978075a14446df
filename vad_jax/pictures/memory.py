"""Points that a method makes of a frame, laid out in the plane: queries around memory items.

Drawn of every picture of kind `vectors`. Letters: h w of the grid of points, M anchors, C numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vad_jax.data.frames import Frames
from vad_jax.detector import Detector
from vad_jax.pictures.frames import of_rows
from vad_jax.pictures.looking import Place, pictures_of
from vad_jax.types import Picture

_FRAMES = 24  # of each class
_POINTS = 600  # of each class at most
_LEAST = 10  # points that are worth a map
_COLOURS = {0: "#4477aa", 1: "#ee6677"}  # told apart in grey and by the colour-blind
_CLASSES = {0: "normal", 1: "anomalous"}


def vectors(
    detector: Detector, videos: Sequence[Frames], scored: Any
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Points of test frames and the anchors among them, laid out in the plane by t-SNE.

    Frames are drawn at equal steps from all that are scored. Arguments and results as
    `frames.extremes`.
    """
    places = {label: _spread(scored, label) for label in _CLASSES}
    every = [place for of in places.values() for place in of]
    drawn = [_some(images) for images in pictures_of(detector, videos, every)]
    for name, first in (drawn[0] if drawn else {}).items():
        clouds, begin = {}, 0
        for label, of in places.items():
            own = [images[name].image for images in drawn[begin : begin + len(of)]]
            begin += len(of)
            if own:
                flat = np.concatenate([np.reshape(p, (-1, p.shape[-1])) for p in own])
                chosen = np.linspace(0, len(flat) - 1, min(_POINTS, len(flat))).astype(int)
                clouds[label] = flat[chosen].astype(np.float32)
        anchors = np.zeros((0, first.image.shape[-1]))
        anchors = anchors if first.anchors is None else first.anchors
        points = np.concatenate([*clouds.values(), np.asarray(anchors, np.float32)])
        if len(points) < _LEAST:
            continue
        titles = [first.title, first.anchors_title] if len(anchors) else [first.title]
        said = f" and of the {len(anchors)} {first.anchors_title}" if len(anchors) else ""
        yield (
            _map(points, clouds, first, len(anchors)),
            {
                "kind": name,
                "group": f"{' and '.join(titles).capitalize()} in the plane",
                "title": " and ".join(titles).capitalize(),
                "caption": f"t-SNE of {len(points) - len(anchors)} {first.title} of {len(every)} "
                f"test frames{said}, cosine distance, seed 0: neighbourhoods mean something, "
                "distances between groups do not. An anomalous frame has normal places, too.",
                "drawing": True,
            },
        )


def _some(images: dict[str, Picture]) -> dict[str, Picture]:
    return {name: picture for name, picture in images.items() if picture.kind == "vectors"}


def _spread(scored, label: int) -> list[Place]:
    """Some frames of a class, at equal steps through the set."""
    every = [
        (video, int(frame))
        for video, (row, labels) in enumerate(
            zip(of_rows(scored, "online_smoothed"), scored.labels, strict=True)
        )
        for frame in np.flatnonzero(np.isfinite(row) & (labels == label))
    ]
    steps = np.linspace(0, len(every) - 1, min(_FRAMES, len(every))).astype(int)
    return [every[step] for step in steps]


def _map(
    points: np.ndarray, clouds: dict[int, np.ndarray], about: Picture, anchors: int
) -> np.ndarray:
    """The scatter plot, BGR."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # without pyplot, which is the user's
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(points) - 1) / 3)
    place = TSNE(
        metric="cosine", init="random", perplexity=perplexity, random_state=0
    ).fit_transform(points)
    figure = Figure(figsize=(8, 6), dpi=100, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    begin = 0
    for label, cloud in clouds.items():
        x, y = place[begin : begin + len(cloud)].T
        name = f"{about.title} of {_CLASSES[label]} frames"
        axes.scatter(x, y, s=6, alpha=0.6, color=_COLOURS[label], label=name, linewidths=0)
        begin += len(cloud)
    if anchors:
        x, y = place[begin:].T
        look = {"s": 130, "marker": "*", "color": "black", "edgecolors": "white", "zorder": 3}
        axes.scatter(x, y, label=f"{anchors} {about.anchors_title}", **look)
    for number, (across, up) in enumerate(place[begin:], start=1):
        axes.annotate(str(number), (across, up), xytext=(5, 5), textcoords="offset points")
    axes.set(xticks=[], yticks=[])
    axes.legend(loc="upper right", fontsize="small", framealpha=0.9)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., 2::-1].copy()

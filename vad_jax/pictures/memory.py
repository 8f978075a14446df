"""What a memory holds: how queries lie around its items.

Drawn for methods whose `pictures` have `matching` and `queries` and whose state has `memory`.
Letters: h w of the queries' grid, M items, C their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vad_jax.data.frames import Frames
from vad_jax.detector import Detector
from vad_jax.pictures.frames import batch_of, of_windows

_FRAMES = 24  # of each class, for the map of queries
_POINTS = 600  # queries of each class at most
_COLOURS = {0: "#4477aa", 1: "#ee6677"}  # told apart in grey and by the colour-blind
_NAMES = {0: "queries of normal frames", 1: "queries of anomalous frames"}


def queries_and_items(
    detector: Detector, drawn: Callable[..., Any], videos: Sequence[Frames], scored: Any
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Queries of test frames and the items, laid out in the plane by t-SNE.

    Frames are drawn at equal steps from all that are scored. Arguments and results as
    `frames.extremes`.
    """
    items = detector.variables["state"].get("memory")
    if items is None:
        return
    clouds = {}
    for label in (0, 1):
        queries = []
        for video, frame in _spread(scored, label):
            batch, _ = batch_of(detector, videos[video], frame)
            images = drawn(detector.variables, batch)
            if "queries" not in images:
                return
            queries.append(2 * np.asarray(images["queries"], np.float32)[0] - 1)
        if queries:
            flat = np.concatenate([query.reshape(-1, query.shape[-1]) for query in queries])
            chosen = np.linspace(0, len(flat) - 1, min(_POINTS, len(flat))).astype(int)
            clouds[label] = flat[chosen]
    points = np.concatenate([*clouds.values(), np.asarray(items, np.float32)])
    if len(points) < 10:
        return
    frames = sum(len(_spread(scored, label)) for label in clouds)
    yield (
        _map(points, clouds, len(items)),
        {
            "kind": "memory",
            "title": "Queries and items",
            "caption": f"t-SNE of {len(points) - len(items)} queries of {frames} test frames and "
            f"of the {len(items)} items, cosine distance, seed 0: neighbourhoods mean something, "
            "distances between groups do not. An anomalous frame has normal places, too.",
        },
    )


def _spread(scored, label: int) -> list[tuple[int, int]]:
    """(video, frame) of some frames of a class, at equal steps through the set."""
    every = [
        (video, frame)
        for video, (row, labels) in enumerate(
            zip(of_windows(scored, "online_smoothed"), scored.labels, strict=True)
        )
        for frame in np.flatnonzero(np.isfinite(row) & (labels == label))
    ]
    steps = np.linspace(0, len(every) - 1, min(_FRAMES, len(every))).astype(int)
    return [every[step] for step in steps]


def _map(points: np.ndarray, clouds: dict[int, np.ndarray], items: int) -> np.ndarray:
    """The scatter plot, BGR."""
    import matplotlib
    from sklearn.manifold import TSNE

    matplotlib.use("Agg")
    from matplotlib import pyplot

    perplexity = min(30, (len(points) - 1) / 3)
    place = TSNE(
        metric="cosine", init="random", perplexity=perplexity, random_state=0
    ).fit_transform(points)
    figure, axes = pyplot.subplots(figsize=(8, 6), dpi=100, layout="constrained")
    begin = 0
    for label, cloud in clouds.items():
        x, y = place[begin : begin + len(cloud)].T
        axes.scatter(x, y, s=6, alpha=0.6, color=_COLOURS[label], label=_NAMES[label], linewidths=0)
        begin += len(cloud)
    x, y = place[begin:].T
    axes.scatter(
        x, y, s=130, marker="*", color="black", edgecolors="white", label=f"{items} items", zorder=3
    )
    for number, (across, up) in enumerate(place[begin:], start=1):
        axes.annotate(str(number), (across, up), xytext=(5, 5), textcoords="offset points")
    axes.set(xticks=[], yticks=[])
    axes.legend(loc="upper right", fontsize="small", framealpha=0.9)
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[..., 2::-1].copy()
    pyplot.close(figure)
    return image

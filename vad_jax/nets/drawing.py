"""What a method has to show: pictures as a tree of jax, so that their making can be jitted.

Letters: B rows, S frames that a row scores, M anchors.
"""

from __future__ import annotations

import jax

from vad_jax.types import Picture

jax.tree_util.register_dataclass(
    Picture,
    data_fields=["image", "anchors"],
    meta_fields=["title", "range", "kind", "anchors_title", "note"],
)


def image(pixels: jax.Array, title: str, *, range: tuple[float, float] = (0.0, 1.0)) -> Picture:
    """A frame, what was made of it, or an error map.

    Args:
      pixels: `[B, S, h, w, c]`, of one channel or of the spec's, in its colour order.
      title: what it is, in words.
      range: the values drawn as the darkest and the lightest.
    """
    return Picture(pixels, title, range=range)


def maps(
    values: jax.Array, title: str, *, range: tuple[float, float] = (0.0, 1.0), note: str = ""
) -> Picture:
    """Maps of one kind, side by side.

    Args:
      values: `[B, S, h, w, c]`, c maps.
      title: what they are, in words.
      range: the values that they can have.
      note: what helps to read them.
    """
    return Picture(values, title, range=range, kind="maps", note=note)


def vectors(
    points: jax.Array,
    title: str,
    *,
    range: tuple[float, float],
    anchors: jax.Array | None = None,
    anchors_title: str = "",
) -> Picture:
    """A point at each place, drawn among fixed ones.

    Args:
      points: `[B, S, h, w, c]`, of c numbers each.
      title: what they are, in words.
      range: the values that their numbers can have.
      anchors: fixed points `[M, c]`, or None.
      anchors_title: what those are.
    """
    return Picture(
        points, title, range=range, kind="vectors", anchors=anchors, anchors_title=anchors_title
    )

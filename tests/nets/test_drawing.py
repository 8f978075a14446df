"""Pictures go through jax as trees: their numbers are traced, what is said of them is not."""

import jax
import numpy as np
import pytest

from vad_jax.nets import drawing

PIXELS = np.linspace(0, 1, 24, dtype=np.float32).reshape(1, 1, 2, 3, 4)
POINTS = np.eye(3, 4, dtype=np.float32)


@pytest.fixture
def pictures():
    return {
        "output": drawing.image(PIXELS[..., :1], "output"),
        "matching": drawing.maps(PIXELS, "matching probability of items", range=(0.0, 2.0)),
        "queries": drawing.vectors(
            PIXELS, "queries", range=(-1.0, 1.0), anchors=POINTS, anchors_title="items"
        ),
    }


def test_pictures_come_out_of_jit_as_they_are(pictures):
    made = jax.jit(lambda: pictures)()
    for name, picture in pictures.items():
        np.testing.assert_array_equal(made[name].image, picture.image)
        for said in ("title", "range", "kind", "anchors_title"):
            assert getattr(made[name], said) == getattr(picture, said)
    np.testing.assert_array_equal(made["queries"].anchors, POINTS)
    assert made["output"].anchors is None


def test_numbers_are_leaves_and_words_are_not(pictures):
    assert len(jax.tree.leaves(pictures)) == 4
    halved = jax.tree.map(lambda leaf: leaf / 2, pictures)
    np.testing.assert_array_equal(halved["queries"].anchors, POINTS / 2)
    assert halved["queries"].range == (-1.0, 1.0)


def test_each_kind_says_how_it_is_drawn(pictures):
    assert {name: picture.kind for name, picture in pictures.items()} == {
        "output": "image",
        "matching": "maps",
        "queries": "vectors",
    }
    assert pictures["output"].range == (0.0, 1.0)

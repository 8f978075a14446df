"""What the laws of meta-learning are tried on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.meta import E, K


@pytest.fixture(scope="module")
def params(x64):
    """Of the small network in `support/meta.py`."""
    normal = np.random.default_rng(0).standard_normal
    return {
        "body": {"w": jnp.array(normal((3, 6))), "b": jnp.array(normal(6))},
        "head": {"w": jnp.array(normal(6)), "b": jnp.array(normal())},
    }


@pytest.fixture(scope="module")
def episodes(x64):
    """E of them."""
    rng = np.random.default_rng(1)

    def examples():
        return {
            "x": jnp.array(rng.standard_normal((E, K, 3))),
            "y": jnp.array(rng.standard_normal((E, K))),
            "mask": jnp.ones((E, K), bool),
        }

    return {"support": examples(), "query": examples()}


@pytest.fixture(scope="module")
def support(episodes):
    """That of the first episode."""
    return jax.tree.map(lambda x: x[0], episodes["support"])

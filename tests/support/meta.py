"""A small network, its loss and episodes: what the laws of meta-learning are tried on, in float64.

Letters: E episodes, K examples in each support and query set.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vad_jax import meta

E, K = 5, 4
ADAM = optax.adam(0.02, eps_root=1e-8)
exactly = functools.partial(np.testing.assert_allclose, rtol=0, atol=0)
# Float64 sums of a few dozen terms of size one, in another order.
close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)


def close_trees(found, expected, same=close):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(same, found, expected)


def network(params, x):
    """`[K, 3]` to `[K]`, smooth."""
    hidden = jnp.tanh(x @ params["body"]["w"] + params["body"]["b"][None])
    return hidden @ params["head"]["w"] + params["head"]["b"]


def loss(params, batch):
    """Mean of squares over the examples that count."""
    error = (network(params, batch["x"]) - batch["y"]) ** 2
    return jnp.sum(jnp.where(batch["mask"], error, 0)) / jnp.sum(batch["mask"])


def learned(params, value=0.1, **how):
    """What is meta-learned: initial parameters, and step sizes that all differ."""
    sizes = meta.init_step_size(params, value, **how)
    leaves, tree = jax.tree.flatten(sizes)
    leaves = [a * (1 + 0.1 * jnp.arange(a.size).reshape(a.shape) + i) for i, a in enumerate(leaves)]
    return {"init": params, "step_size": jax.tree.unflatten(tree, leaves)}


@functools.cache
def program(loss, **how):
    """The meta-loss and its gradient under jit; one program for all that asks in the same way."""
    objective = functools.partial(meta.meta_loss, loss, **how)
    return jax.jit(jax.value_and_grad(objective, has_aux=True))


@functools.cache
def steps_of(loss, **how):
    """`meta.adapt` under jit, `(params, step_size, support)`."""
    return jax.jit(functools.partial(meta.adapt, loss, **how))


def value_and_gradient(given, episodes, loss=loss, **how):
    """The meta-loss, its gradient with respect to all that is learned, and what it saw."""
    (value, seen), gradient = program(loss, **how)(given, episodes)
    return value, gradient, seen


def at(episodes, rows):
    """Some of the episodes."""
    return jax.tree.map(lambda x: x[jnp.array(rows)], episodes)

"""Meta-learning: gradient steps that can themselves be differentiated. Public as `vad_jax.meta`.

Functions of functions: any pure `loss(params, batch) -> scalar` over any pytree of parameters.
Nothing is copied, kept or sampled here; a loss that needs randomness takes its key from the batch.

A parameter's path is written `decoder/conv1/kernel` (`learning/subsets.py`).

Letters: E episodes.
"""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from vad_jax.learning import subsets
from vad_jax.learning.subsets import Subset

DESCENT = optax.sgd(1.0)  # the gradient with its sign turned; the step size does the rest


class Losses(NamedTuple):
    """What `meta_loss` saw; no derivative goes through it.

    Attributes:
      inner: on the support set before each step, `[E, steps]`.
      after: on the query set with the adapted parameters, `[E]`; `meta_loss` is their mean.
      before: on the query set with the initial ones, `[E]`; None unless asked for.
      aux: what the loss says beside its value (`has_aux`) on the query set with the adapted
        parameters, an axis E in front; None without.
    """

    inner: jax.Array
    after: jax.Array
    before: jax.Array | None
    aux: Any


def adapt(
    loss: Callable[..., Any],
    params: Any,
    step_size: Any,
    support: Any,
    *,
    steps: int = 1,
    subset: Subset = None,
    order: Literal[1, 2] = 2,
    remat: bool = False,
    unroll: bool = False,
    optimizer: optax.GradientTransformation = DESCENT,
    has_aux: bool = False,
    state: Any = None,
    carry_state: bool = False,
) -> tuple[Any, Any]:
    """Takes gradient steps on a support set, and can be differentiated through them.

    `params <- params - step_size * gradient`. One number for all is MAML's inner loop and plain
    fine-tuning, one number a tensor is MAML++'s, one a parameter is Meta-SGD's.

    Args:
      loss: pure, `(params, support) -> scalar`.
      params: any pytree of floating arrays; those that `subset` leaves out may have any dtype.
      step_size: a number for all, or a pytree (`init_step_size`) that has at the path of every
        chosen parameter, and nowhere else, a number or an array that broadcasts to its shape.
        Negative ones are allowed.
      support: whatever `loss` takes. Sets of unequal size: pad them, put a mask into the batch and
        let `loss` average over what counts; then a masked example changes nothing.
      steps: number of steps T; 0 returns `params` as they came.
      subset: which parameters move: a regular expression that matches the whole path
        (`re.fullmatch`: `"(prototype|head)/.*"`), or a function of the path; None is all. The
        others come back bit for bit, take no memory in the steps, and may be differentiated with
        respect to: the derivative is exact, through the steps too.
      order: 2 differentiates through the inner gradients. 1 takes what a step finds for constant
        (first-order MAML; losses and a carried state, too): no second derivatives, and `step_size`
        still has its gradient.
      remat: keep only the parameters between steps and compute each step again in the backward
        pass: less memory for large T, more time. The same numbers but for rounding.
      unroll: write the steps out one after the other instead of as a loop: the program takes
        longer to compile, the more so the more steps, and on CPUs, where XLA runs the body of a
        loop on one core, is quicker.
      optimizer: turns gradients into updates, of which `step_size` is a factor; its state starts
        anew in each call. `optax.sgd(1.0)` is plain descent; with `optax.adam(1e-3,
        eps_root=1e-8)` take `step_size=1.0`. Without `eps_root` the derivative of Adam's root is
        not finite where a gradient is 0.
      has_aux: `loss` returns `(scalar, aux)`.
      state: of the model (BatchNorm, a memory). If given, `loss` is `(params, state, batch) ->
        (scalar, state)`, with `has_aux` `(scalar, (state, aux))`. **By default frozen**: every step
        sees it as it came in, and what `loss` returns of it is dropped.
      carry_state: each step sees the state that the step before returned. In the end it is thrown
        away, never handed back.

    Returns:
      The adapted parameters, and the losses before each step, `[steps]`; with `has_aux` the pair of
      losses and aux, an axis `steps` in front. Losses that are not finite are left as they are.

    Raises:
      ValueError: a subset that matches nothing, step sizes at other paths or of other shapes, or
        steps that are no whole number.

    Example:
      >>> import jax.numpy as jnp
      >>> params, losses = adapt(lambda p, x: (p - x) ** 2, jnp.array(0.0), 0.5, 3.0, steps=2)
      >>> float(params), losses.tolist()
      (3.0, [9.0, 0.0])
      >>> params = {"body": {"w": jnp.ones(2)}, "head": {"w": jnp.ones(2), "b": jnp.zeros(())}}
      >>> def loss(params, x):
      ...     y = params["body"]["w"] * x @ params["head"]["w"] + params["head"]["b"]
      ...     return y**2
      >>> adapted, _ = adapt(loss, params, 0.25, jnp.ones(2), subset="head/.*")
      >>> adapted["head"]["w"].tolist(), adapted["body"]["w"].tolist()
      ([0.0, 0.0], [1.0, 1.0])

    Source: MAML (Finn et al. 2017), eq. (1); Meta-SGD (Li et al. 2017), eq. (2); MAML++ (Antoniou
    et al. 2019).
    """
    loss = _uniform(loss, has_aux=has_aux, state=state, carry_state=carry_state)
    how = (steps, subset, order, remat, unroll, optimizer)
    params, _, losses, aux = _descend(loss, params, state, step_size, support, *how)
    return params, (losses, aux) if has_aux else losses


def meta_loss(
    loss: Callable[..., Any],
    meta: Mapping[str, Any],
    episodes: Mapping[str, Any],
    *,
    steps: int = 1,
    subset: Subset = None,
    order: Literal[1, 2] = 2,
    remat: bool = False,
    unroll: bool = False,
    optimizer: optax.GradientTransformation = DESCENT,
    has_aux: bool = False,
    state: Any = None,
    carry_state: bool = False,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    before: bool = False,
) -> tuple[jax.Array, Losses]:
    """The loss on the query sets after adaptation to the support sets, mean over episodes.

    Its gradient with respect to `meta` is the meta-gradient.

    Args:
      loss, steps, subset, order, remat, optimizer, has_aux: as in `adapt`.
      unroll: as in `adapt`, and the same for the episodes, which are vectorised by default: a
        convolution whose kernel differs between the rows of a batch is slow on CPUs. With `chunk`
        only the steps are.
      meta: `{"init": params, "step_size": pytree}`.
      episodes: `{"support": batch, "query": batch}`, in both an axis E in front of every array;
        `"mask"` `[E]`, if there, weights the episodes: the result is `sum(mask * after) /
        sum(mask)`, 0 where the sum of the weights is. An episode of weight 0 changes nothing if
        its numbers are finite (fill up with a copy of another one). Examples within an episode are
        masked by the batch itself (`adapt`, `support`).
      state, carry_state: as in `adapt`, one state for all episodes. The query set is judged with
        the state that came in, or, if carried, with that of the episode's last step.
      chunk: episodes that a device computes at a time. None is all side by side (`vmap`). With a
        number, one chunk after another (`lax.map`), each computed again in the backward pass:
        memory of a chunk, not of E.
      mesh: of devices that share the episodes, under `jit`; E is a multiple of their number. Only
        sums cross between them. Without it XLA divides what is sharded along E as it sees fit,
        which for convolutions means that whole batches travel: `vmap` has made grouped ones of
        them.
      before: also report the query losses of the initial parameters, at the cost of one more
        evaluation.

    Returns:
      The meta-loss, a scalar, and the `Losses` it is made of.

    Raises:
      ValueError: as `adapt`, or other keys in `meta` or `episodes`, arrays that have not the same
        axis E in front, a mask that is not `[E]`, or a chunk below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> meta = {"init": jnp.array(0.0), "step_size": jnp.array(0.25)}
      >>> episodes = {"support": jnp.array([1.0, 3.0]), "query": jnp.array([1.0, 2.0])}
      >>> value, losses = meta_loss(lambda p, x: (p - x) ** 2, meta, episodes, before=True)
      >>> float(value), losses.before.tolist(), losses.after.tolist()
      (0.25, [1.0, 4.0], [0.25, 0.25])
      >>> grad = jax.grad(meta_loss, argnums=1, has_aux=True)
      >>> gradient, _ = grad(lambda p, x: (p - x) ** 2, meta, episodes)
      >>> {name: float(value) for name, value in gradient.items()}
      {'init': -0.5, 'step_size': -4.0}

    Source: MAML (Finn et al. 2017), eq. (1); with step sizes in `meta` Meta-SGD (Li et al. 2017),
    eq. (3).
    """
    _only("meta", meta, ("init", "step_size"))
    _only("episodes", episodes, ("support", "query"), optional=("mask",))
    _check_axis({name: episodes[name] for name in ("support", "query")})
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk is None or at least 1, not {chunk}.")
    loss = _uniform(loss, has_aux=has_aux, state=state, carry_state=carry_state)

    how = (steps, subset, order, remat, unroll, optimizer)

    def episode(meta, state, sets):
        support, query = sets
        adapted, moved, inner, _ = _descend(
            loss, meta["init"], state, meta["step_size"], support, *how
        )
        after, (_, aux) = loss(adapted, moved, query)
        first = loss(meta["init"], state, query)[0] if before else None
        return after, inner if steps else None, first, aux  # `lax.map` takes no empty arrays

    def together(meta, state, sets):
        run = functools.partial(episode, meta, state)
        if chunk is None:
            return _each(run, sets, unroll)
        return jax.lax.map(jax.checkpoint(run), sets, batch_size=chunk)

    if mesh is not None:
        whole, split = PartitionSpec(), PartitionSpec(mesh.axis_names)
        together = jax.shard_map(
            together, mesh=mesh, in_specs=(whole, whole, split), out_specs=split, check_vma=False
        )
    sets = (episodes["support"], episodes["query"])
    after, inner, first, aux = together(meta, state, sets)
    if not steps:
        inner = jnp.zeros((len(after), 0), after.dtype)
    value = _weighted_mean(after, episodes.get("mask"))
    return value, jax.lax.stop_gradient(Losses(inner, after, first, aux))


def init_step_size(
    params: Any,
    value: float,
    *,
    subset: Subset = None,
    shape: Literal["parameter", "tensor", "shared"] = "parameter",
) -> Any:
    """Step sizes of one value, to begin with, for the parameters of a subset.

    Args:
      params: the pytree that will be adapted.
      value: of every step size.
      subset: as in `adapt`.
      shape: one step size for each `parameter` (Meta-SGD), for each `tensor`, or one `shared` by
        all (MAML).

    Returns:
      A scalar if shared. Otherwise arrays of the parameters' dtypes in their nesting, where dicts
      lack the keys, and other containers have None in the places, of what does not move.

    Example:
      >>> params = {"body": jnp.ones(2), "head": {"w": jnp.ones(3), "b": jnp.zeros(())}}
      >>> sizes = init_step_size(params, 0.5, subset="head/.*", shape="tensor")
      >>> {name: float(value) for name, value in sizes["head"].items()}, list(sizes)
      ({'b': 0.5, 'w': 0.5}, ['head'])
    """
    chosen = subsets.chosen(params, subset)
    if shape == "shared":
        return jnp.asarray(value, jnp.result_type(*jax.tree.leaves(chosen)))
    if shape not in ("parameter", "tensor"):
        raise ValueError(f"shape is 'parameter', 'tensor' or 'shared', not {shape!r}.")
    whole = shape == "parameter"
    return jax.tree.map(
        lambda p: jnp.full(jnp.shape(p) if whole else (), value, jnp.result_type(p)), chosen
    )


def _each(episode, sets, unroll):
    """`vmap`, but for a single episode and where episodes are to be written out.

    With it and a loop of one step, MPN's meta-step at 64x64 took half as long again (one core of an
    AMD EPYC, 2026-11).
    """
    number = len(jax.tree.leaves(sets)[0])
    if number > 1 and not unroll:
        return jax.vmap(episode)(sets)
    made = [episode(jax.tree.map(lambda x, i=i: jnp.asarray(x)[i], sets)) for i in range(number)]
    return jax.tree.map(lambda *each: jnp.stack(each), *made)


def _uniform(loss, *, has_aux, state, carry_state):
    """Any of the four kinds of loss as `(params, state, batch) -> (scalar, (state, aux))`."""
    if carry_state and state is None:
        raise ValueError("carry_state needs the state that the first step sees: pass state.")

    def call(params, current, batch):
        if state is None:
            value, aux = loss(params, batch) if has_aux else (loss(params, batch), None)
            return value, (current, aux)
        value, rest = loss(params, current, batch)
        after, aux = rest if has_aux else (rest, None)
        return value, (after if carry_state else current, aux)

    return call


def _descend(
    loss, params, state, step_size, support, steps, subset, order, remat, unroll, optimizer
):
    """Parameters and state after the steps; losses `[steps]` and aux before each."""
    if not isinstance(steps, numbers.Integral) or isinstance(steps, bool) or steps < 0:
        raise ValueError(f"steps is a whole number, 0 or more, not {steps!r}.")
    if order not in (1, 2):
        raise ValueError(f"order is 1 or 2, not {order!r}.")
    chosen = jax.tree.map(jnp.asarray, subsets.chosen(params, subset))
    scales = subsets.spread(step_size, chosen)

    def step(carry, _):
        chosen, slots, state = carry

        def of_chosen(chosen):
            return loss(subsets.merged(chosen, params), state, support)

        found = jax.value_and_grad(of_chosen, has_aux=True)(chosen)
        (value, (after, aux)), gradient = found if order == 2 else jax.lax.stop_gradient(found)
        updates, slots = optimizer.update(gradient, slots, chosen)
        moved = jax.tree.map(lambda p, a, u: (p + a * u).astype(p.dtype), chosen, scales, updates)
        return (moved, slots, after), (value, aux)

    if remat:
        # a loop shares nothing anyway
        step = jax.checkpoint(step, prevent_cse=steps == 1 or unroll)
    carry = (chosen, optimizer.init(chosen), state)
    if steps == 1:  # no loop, see `_each`
        (chosen, _, state), found = step(carry, None)
        losses, aux = jax.tree.map(lambda x: x[None], found)
    else:
        (chosen, _, state), (losses, aux) = jax.lax.scan(
            step, carry, length=steps, unroll=max(steps, 1) if unroll else 1
        )
    return subsets.merged(chosen, params), state, losses, aux


def _only(what, given, keys, *, optional=()):
    if not set(keys) <= set(given) <= {*keys, *optional}:
        raise ValueError(
            f"{what} has the keys {sorted(given)}; expected {list(keys)}"
            f"{f', and may have {list(optional)}' if optional else ''}."
        )


def _check_axis(episodes):
    """Raises ValueError unless all arrays have the same number of episodes in front."""
    shapes = {path: jnp.shape(leaf) for path, leaf in subsets.named(episodes)}
    if len({shape[:1] for shape in shapes.values()}) == 1 and all(shapes.values()):
        return
    said = ", ".join(f"{path} {list(shape)}" for path, shape in list(shapes.items())[:4])
    raise ValueError(
        "Every array of episodes has their axis E in front, the same number in all; here are "
        f"{said}{' …' if len(shapes) > 4 else ''}. A single episode gets it by "
        "jax.tree.map(lambda x: x[None], batch), several by jnp.stack."
    )


def _weighted_mean(values, weights):
    if weights is None:
        return jnp.mean(values)
    weights = jnp.asarray(weights, values.dtype)
    if weights.shape != values.shape:
        raise ValueError(f"The mask has shape {weights.shape}, there are {len(values)} episodes.")
    total = jnp.sum(weights)
    counted = jnp.sum(jnp.where(weights == 0, 0, weights * values))
    return counted / jnp.where(total == 0, 1, total)

"""MPN at every plug and with other numbers of prototypes, where there are no published arrays.

The judge is the method written out a second time: the network layer by layer in PyTorch's layout,
the unit and its losses by broadcasting and loops, the meta-gradient by differentiating the update.
Letters: N pixels of the map, M prototypes, C channels.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mpn import batch, fixture_config, small_config, small_weights

import vad_jax
from vad_jax.interop import torch
from vad_jax.learning import optim, stage_run
from vad_jax.methods import mpn

pytestmark = pytest.mark.usefixtures("x64")

# θ beside the unit, by published names: all behind the plug.
BEHIND = {
    "1/1": ("ohead",),
    "1/2": ("decoder.moduleDeconv2", "decoder.moduleUpsample2", "ohead"),
    "1/4": (
        *("decoder.moduleDeconv3", "decoder.moduleUpsample3"),
        *("decoder.moduleDeconv2", "decoder.moduleUpsample2", "ohead"),
    ),
    "1/8": ("decoder", "ohead"),
}


def written_out_unit(x, weights, paper):
    """Section 3.2 on one image `[N, C]` with the linear layer `[M, C]`: output, p, β."""
    scores = jnp.sum(x[:, None, :] * weights[None], axis=-1)
    attention = jnp.exp(scores - jnp.max(scores, axis=0)[None])
    attention = attention / jnp.sum(attention, axis=0)[None]
    p = jnp.sum(attention[:, :, None] * x[:, None, :], axis=0)
    if not paper:
        p = p / jnp.sqrt(jnp.sum(p**2, axis=1))[:, None]
    dots = jnp.sum(x[:, None, :] * p[None], axis=-1)
    if paper:
        total = jnp.sum(dots, axis=1)
        total = jnp.where(jnp.abs(total) < 1e-6, jnp.where(total < 0, -1e-6, 1e-6), total)
        beta = dots / total[:, None]
    else:
        beta = jnp.exp(dots) / jnp.sum(jnp.exp(dots), axis=1)[:, None]
    rebuilt = jnp.sum(beta[:, :, None] * p[None], axis=1)
    if not paper:
        rebuilt = rebuilt / jnp.sqrt(jnp.sum(rebuilt**2, axis=1))[:, None]
    return x + rebuilt, p, beta


def written_out_losses(x, p, beta, paper):
    """Compactness and diversity of one image."""
    apart = x - p[jnp.argmax(beta, axis=1)]
    compact = jnp.mean(jnp.sqrt(jnp.sum(apart**2, axis=1))) if paper else jnp.mean(apart**2)
    pairs = np.array(list(itertools.permutations(range(len(p)), 2)), int).reshape(-1, 2)
    if not len(pairs):
        return compact, jnp.zeros(())
    square = jnp.sum((p[pairs[:, 0]] - p[pairs[:, 1]]) ** 2, axis=1)
    hinges = 2 * jnp.maximum(0, 1 - jnp.sqrt(square)) if paper else jnp.maximum(0, 1 - square)
    return compact, jnp.sum(hinges) / len(pairs)


def written_out_network(tensors, x, plug, paper):
    """Frames `[B, 4c, H, W]` to the prediction, compactness and diversity of each."""

    def conv(name, x):
        y = jax.lax.conv(x, tensors[f"{name}.weight"], (1, 1), "SAME")
        return y + tensors[f"{name}.bias"][None, :, None, None]

    def block(name, x):
        x = jax.nn.relu(conv(f"{name}.0", x))
        x = conv(f"{name}.2", x)
        return x if name == "encoder.moduleConv4" else jax.nn.relu(x)

    def up(name, x):
        kernel = jnp.flip(tensors[f"{name}.0.weight"], (2, 3)).transpose(1, 0, 2, 3)
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), ((1, 2), (1, 2)), lhs_dilation=(2, 2))
        return jax.nn.relu(y + tensors[f"{name}.0.bias"][None, :, None, None])

    found = {}

    def at(spot, x):
        if spot != plug:
            return x
        x = x / jnp.sqrt(jnp.sum(x**2, axis=1, keepdims=True))
        updated, losses = [], []
        for image in x:
            pixels = image.reshape(image.shape[0], -1).T
            weights = tensors["prototype.Mheads.weight"]
            moved, p, beta = written_out_unit(pixels, weights, paper)
            updated.append(moved.T.reshape(image.shape))
            losses.append(written_out_losses(pixels, p, beta, paper))
        found["compact"], found["diverse"] = map(jnp.stack, zip(*losses, strict=True))
        return jnp.stack(updated)

    skips = []
    for level in (1, 2, 3):
        x = block(f"encoder.moduleConv{level}", x)
        skips.append(x)
        x = x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).max(axis=(3, 5))
    x = at("1/8", block("encoder.moduleConv4", x))
    x = block("decoder.moduleConv", x)
    x = at("1/4", jnp.concatenate([skips[2], up("decoder.moduleUpsample4", x)], axis=1))
    x = block("decoder.moduleDeconv3", x)
    x = at("1/2", jnp.concatenate([skips[1], up("decoder.moduleUpsample3", x)], axis=1))
    x = block("decoder.moduleDeconv2", x)
    x = at("1/1", jnp.concatenate([skips[0], up("decoder.moduleUpsample2", x)], axis=1))
    output = jnp.tanh(conv("ohead.4", block("ohead", x)))
    return output, found["compact"], found["diverse"]


def written_out_loss(tensors, frames, plug, paper):
    """The total over windows `[B, 5, H, W, 1]`."""
    pixels = np.float64(frames.astype(np.float32) / np.float32(127.5) - np.float32(1))[..., 0]
    output, compact, diverse = written_out_network(tensors, pixels[:, :4], plug, paper)
    error = output - pixels[:, 4:]
    if paper:
        frame = jnp.mean(jnp.sqrt(jnp.sum(error**2, axis=(1, 2, 3))))
        return frame + jnp.mean(compact) + 0.01 * jnp.mean(diverse)
    return jnp.mean(error**2) + jnp.mean(compact) + 1e-4 * jnp.mean(diverse)


class Case:
    """A small network at a plug, and tensors that make its prototypes differ."""

    def __init__(self, plug, prototypes, variant):
        self.plug, self.paper = plug, variant == "paper"
        self.config = small_config(
            plug=plug, prototypes=prototypes, variant=variant, stage_names=("joint", "meta")
        )
        self.method = vad_jax.create(self.config)
        self.joint, self.meta = self.method.stages
        shapes = jax.eval_shape(self.method.init, jax.random.key(0))["params"]
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)
        names = torch.tensors(self.config, zeros)
        self.tensors = small_weights({name: array.shape for name, array in names.items()})
        self.theta = [name for name in names if name.startswith(("prototype", *BEHIND[self.plug]))]
        rng = np.random.default_rng(1)
        self.sizes = {
            name: 0.02 * rng.uniform(0.5, 1.5, self.tensors[name].shape) for name in self.theta
        }
        self.variables = torch.variables(self.config, self.tensors, step_size=self.sizes)
        self.begun = self.meta.begin(self.variables)

    @functools.cached_property
    def gradient(self):
        loss = functools.partial(self.joint.loss, train=True)
        return jax.jit(jax.value_and_grad(loss, has_aux=True))

    @functools.cached_property
    def meta_gradient(self):
        loss = functools.partial(self.meta.loss, train=True)
        return jax.jit(jax.value_and_grad(loss, has_aux=True))

    def named(self, tree):
        return torch.tensors(self.config, tree)


case = functools.cache(Case)


def footage(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 5, 16, 16, 1), dtype=np.uint8)


def episodes(number=1):
    some = np.ones((number, 2), bool)
    return {
        "support": footage(number, 2),
        "query": footage(2, number, 2)[1],
        "support_mask": some,
        "query_mask": some,
        "mask": np.ones(number, bool),
        "video": np.zeros(number, np.int32),
        "frame": np.zeros(number, np.int32),
    }


def close(found, expected, name=""):
    """Relative to the largest entry: sums of some thousand terms in another order."""
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * largest, err_msg=name)


@functools.cache
def both_units(plug, prototypes, variant):
    """Ours and the one written out, on maps `[B, N, C]`: all that they give, compiled."""
    model = mpn.Model(small_config(plug=plug, prototypes=prototypes, variant=variant))

    def ours(maps, weights):
        updated, seen = model.unit({"prototype": {"kernel": weights.T}}, {"map": maps})
        compact = jax.vmap(model.compactness)(seen["pixels"], seen)
        diverse = jax.vmap(model.diversity)(seen["prototypes"])
        flat = updated.reshape(seen["pixels"].shape)
        return flat, seen["prototypes"], seen["match"], compact, diverse

    def written_out(maps, weights):
        def one(x):
            found = written_out_unit(x, weights, model.paper)
            return (*found, *written_out_losses(x, *found[1:], model.paper))

        found = [one(image.reshape(-1, image.shape[-1])) for image in maps]
        return tuple(map(jnp.stack, zip(*found, strict=True)))

    return jax.jit(ours), jax.jit(written_out)


@pytest.mark.parametrize("variant", ["code", "paper"])
@pytest.mark.parametrize("prototypes", [1, 5])
@pytest.mark.parametrize("plug", ["1/2", "1/4", "1/8"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_unit_and_its_losses_are_the_equations(plug, prototypes, variant, seed):
    rng = np.random.default_rng(seed)
    channels = {"1/2": 16, "1/4": 32, "1/8": 32}[plug]
    maps = rng.normal(size=(2, 3, 4, channels))
    maps = maps if plug == "1/8" else np.abs(maps)  # behind ReLUs in front of 1/8 alone not
    maps /= np.linalg.norm(maps, axis=-1, keepdims=True)
    weights = 4 * rng.normal(size=(prototypes, channels))
    for found, expected in zip(
        *(unit(maps, weights) for unit in both_units(plug, prototypes, variant)), strict=True
    ):
        close(found, expected)
    if prototypes == 1:
        assert (np.asarray(both_units(plug, 1, variant)[0](maps, weights)[4]) == 0).all()


@pytest.mark.parametrize(
    ("plug", "prototypes", "variant"),
    [
        ("1/2", 5, "code"),
        ("1/2", 1, "paper"),
        ("1/4", 5, "code"),
        ("1/4", 5, "paper"),
        ("1/8", 5, "paper"),
    ],
)
def test_loss_and_gradient_are_those_of_the_network_written_out(plug, prototypes, variant):
    this = case(plug, prototypes, variant)
    (total, (_, parts)), gradient = this.gradient(
        this.variables["params"], {}, batch(footage(2)), None
    )
    expected, gradients = jax.jit(
        jax.value_and_grad(lambda t: written_out_loss(t, footage(2), plug, this.paper))
    )(this.tensors)
    close(total, expected)
    for name, value in this.named(gradient).items():
        close(value, gradients[name], name)
    assert ("pair_distance" in parts) == (prototypes > 1)


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_the_meta_gradient_is_that_of_the_update_written_out(variant):
    this, example = case("1/4", 5, variant), episodes()
    rest = {name: this.tensors[name] for name in this.tensors if name not in this.theta}
    theta = {name: this.tensors[name] for name in this.theta}

    def loss(theta, frames):
        return written_out_loss({**rest, **theta}, frames, this.plug, this.paper)

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def outer(theta, alpha):
        inner = jax.grad(loss)(theta, example["support"][0])
        moved = {name: theta[name] - alpha[name] * inner[name] for name in theta}
        return loss(moved, example["query"][0])

    (found, _), gradient = this.meta_gradient(
        this.begun["params"], this.begun["state"], example, None
    )
    expected, (of_theta, of_alpha) = outer(theta, this.sizes)
    close(found, expected)
    for key, gradients in (("init", of_theta), ("step_size", of_alpha)):
        named = this.named(gradient[key])
        assert set(named) == set(this.theta)
        for name, value in named.items():
            assert np.abs(value).max() > 0, name
            close(value, gradients[name], name)


def along(tree, direction, amount):
    return jax.tree.map(lambda leaf, way: leaf + amount * way, tree, direction)


def slope(value, tree, direction, step):
    """Central difference along a direction of length one."""
    ahead, behind = (value(along(tree, direction, way * step)) for way in (1, -1))
    return (ahead - behind) / (2 * step)


def length_one(tree):
    size = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(tree)))
    return jax.tree.map(lambda leaf: leaf / size, tree), size


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_gradients_are_finite_differences(variant):
    """Along the gradient itself. In θ the meta-loss of a ReLU net jumps: steps of 1e-9 only."""
    this = case("1/4", 5, variant)
    params = this.variables["params"]

    def joint(params):
        return float(this.gradient(params, {}, batch(footage(2)), None)[0][0])

    _, gradient = this.gradient(params, {}, batch(footage(2)), None)
    direction, size = length_one(gradient)
    assert slope(joint, params, direction, 1e-8) == pytest.approx(size, rel=1e-5)

    meta, state = this.begun["params"], this.begun["state"]

    def outer(meta):
        return float(this.meta_gradient(meta, state, episodes(), None)[0][0])

    _, gradient = this.meta_gradient(meta, state, episodes(), None)
    for key, step in (("init", 1e-9), ("step_size", 1e-7)):
        direction, size = length_one(gradient[key])

        def moved(tree, key=key):
            return outer({**meta, key: tree})

        assert slope(moved, meta[key], direction, step) == pytest.approx(size, rel=1e-4), key


def test_a_meta_step_moves_theta_and_step_sizes_and_leaves_the_rest_bit_for_bit():
    this = case("1/4", 5, "code")
    optimizer = optim.only(
        this.meta.optimizer(steps_per_epoch=1, steps=1), this.meta.trainable, this.begun["params"]
    )
    slots = optimizer.init(this.begun["params"])
    step = jax.jit(stage_run.train_step(this.meta, optimizer))
    moved, _, _ = step(this.begun, slots, episodes(), jax.random.key(0))
    finished = this.meta.finish(moved)
    jax.tree.map(np.testing.assert_array_equal, moved["state"], this.begun["state"])
    for name, value in this.named(finished["params"]).items():
        assert (value != this.tensors[name]).any() == (name in this.theta), name
    for name, value in this.named(finished["state"]["step_size"]).items():
        assert (value != this.sizes[name]).any(), name


@pytest.mark.parametrize(
    ("plug", "unit", "theta"),
    [("1/1", 1_280, 113_731), ("1/2", 2_560, 631_427), ("1/4", 5_120, 2_699_011),
     ("1/8", 5_120, 8_598_531)],
)  # fmt: skip
def test_numbers_of_parameters_are_the_published_and_the_counted(plug, unit, theta):
    method = vad_jax.create(fixture_config(plug=plug, stage_names=("joint", "meta")))
    variables = jax.eval_shape(method.init, jax.random.key(0))

    def count(tree):
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    params = variables["params"]
    assert count(params["prototype"]) == unit
    assert count(params) == 13_283_971 + unit
    assert count(params["encoder"]) == 4_690_560
    begun = jax.eval_shape(method.stages[1].begin, variables)["params"]
    assert count(begun["init"]) == count(begun["step_size"]) == theta

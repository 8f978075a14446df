"""Layouts by rank, and what a method's table says of it, over a small method of 3D layers.

Its network is PyTorch's where that can be imported, so that the names and the numbers are.
"""

import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vad_jax import config as configs
from vad_jax.interop import torch
from vad_jax.nets.conv3d import Conv3D, ConvTranspose3D
from vad_jax.types import DataError, Key, Published

pytestmark = pytest.mark.usefixtures("x64")


class Network(nn.Module):
    width: int

    @nn.compact
    def __call__(self, clips):
        x = Conv3D(self.width, strides=(2, 2, 2), name="down")(clips)
        x = ConvTranspose3D(3, strides=(2, 2, 2), name="up")(jax.nn.relu(x))
        return nn.Dense(2, name="head")(x)


def init(config):
    def drawn(key):
        clips = jnp.zeros((1, 2, 2, 2, 2))
        params = Network(config.width).init(key, clips)["params"]
        state = {
            "items": {"clips": jax.random.normal(key, (3, config.width))},
            "measured": {"error": {"mean": jnp.full((), 0.5), "std": jnp.ones(())}},
            "shown": jnp.zeros((), jnp.int32),
        }
        return {"params": params, "state": state}

    return drawn


def published(config):
    return Published(
        {
            "down.weight": ("params/down/kernel", "conv"),
            "down.bias": ("params/down/bias", "plain"),
            "up.weight": ("params/up/kernel", "upsample"),
            "up.bias": ("params/up/bias", "plain"),
            "head.weight": ("params/head/kernel", "linear"),
            "head.bias": ("params/head/bias", "plain"),
        },
        dead=("down.count",),
        memory="state/items/clips" if config.items_kept else None,
        step_sizes=("up.weight", "head.bias"),
    )


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The method `small`; `bare` has no published tensors."""
    keys = {
        "width": Key(4, "channels", above=0),
        "items_kept": Key(True, "whether the published network has a memory"),
        "score": Key("mean", "of a clip", evaluation=True),
    }
    for name in ("small", "bare"):
        module = types.ModuleType(f"vad_jax.methods.{name}")
        module.KEYS, module.complete = keys, lambda config: None
        module.create = lambda config: types.SimpleNamespace(init=init(config))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    sys.modules["vad_jax.methods.small"].published = published


@pytest.fixture
def config():
    return configs.defaults("small")


SHAPES = {
    "down.weight": (4, 2, 3, 3, 3),
    "down.bias": (4,),
    "up.weight": (4, 3, 3, 3, 3),
    "up.bias": (3,),
    "head.weight": (2, 3),
    "head.bias": (2,),
}


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape) for name, shape in SHAPES.items()}


@pytest.fixture
def sizes(tensors):
    return {name: np.abs(tensors[name]) for name in ("up.weight", "head.bias")}


def same(found, expected):
    assert set(found) == set(expected)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_kernels_of_any_rank_are_turned_as_their_kind_needs(config, tensors):
    params = torch.variables(config, tensors)["params"]
    for path, name, axes in (
        ("down", "down.weight", (2, 3, 4, 1, 0)),
        ("up", "up.weight", (2, 3, 4, 0, 1)),
        ("head", "head.weight", (1, 0)),
    ):
        expected = tensors[name].transpose(axes)
        np.testing.assert_array_equal(params[path]["kernel"], expected, err_msg=name)


def test_there_and_back_is_the_same(config, tensors, sizes):
    variables = torch.variables(config, tensors, step_size=sizes)
    same(torch.tensors(config, variables), tensors)
    same(torch.tensors(config, variables["params"]), tensors)
    same(torch.tensors(config, variables["state"]["step_size"]), sizes)


def test_the_network_computes_what_pytorchs_does(config, tensors):
    judge = pytest.importorskip("torch", reason="the judge of this test is PyTorch")
    clips = np.random.default_rng(1).normal(size=(2, 4, 6, 4, 2))
    found = Network(4).apply({"params": torch.variables(config, tensors)["params"]}, clips)
    given = {name: judge.tensor(array) for name, array in tensors.items()}
    x = judge.tensor(np.moveaxis(clips, -1, 1))
    x = judge.conv3d(x, given["down.weight"], given["down.bias"], stride=2, padding=1).relu()
    x = judge.conv_transpose3d(x, given["up.weight"], given["up.bias"], 2, 1, 1).movedim(1, -1)
    expected = judge.nn.functional.linear(x, given["head.weight"], given["head.bias"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)  # sums of 108 products


def test_state_of_no_tensor_is_a_fresh_start_s(config, tensors):
    config.seed = 3
    fresh = jax.jit(init(config))(jax.random.key(3))["state"]
    state = torch.variables(config, tensors)["state"]
    jax.tree.map(np.testing.assert_array_equal, state, fresh)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_the_state_have_the_tensors_dtype_and_counts_keep_theirs(config, tensors, dtype):
    given = {name: array.astype(dtype) for name, array in tensors.items()}
    variables = torch.variables(config, given, memory=np.ones((3, 4)))
    count = variables["state"].pop("shown")
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(dtype)}
    assert count.dtype == jnp.int32


def test_items_lie_where_the_method_s_table_says(config, tensors):
    items = np.ones((3, 4))
    state = torch.variables(config, tensors, memory=items)["state"]
    np.testing.assert_array_equal(state["items"]["clips"], items)
    assert float(state["measured"]["error"]["mean"]) == 0.5


def test_items_for_a_method_without_a_memory_are_refused(config, tensors):
    config.items_kept = False
    with pytest.raises(DataError, match="small has no memory in this configuration: leave memory"):
        torch.variables(config, tensors, memory=np.ones((3, 4)))


def test_items_of_another_shape_are_refused(config, tensors):
    with pytest.raises(DataError, match=r"state/items/clips has shape \(3, 4\).*\(3, 5\)"):
        torch.variables(config, tensors, memory=np.ones((3, 5)))


def test_step_sizes_lie_at_their_parameters_paths(config, tensors, sizes):
    step_size = torch.variables(config, tensors, step_size=sizes)["state"]["step_size"]
    expected = sizes["up.weight"].transpose(2, 3, 4, 0, 1)
    np.testing.assert_array_equal(step_size["up"]["kernel"], expected)
    np.testing.assert_array_equal(step_size["head"]["bias"], sizes["head.bias"])


def test_a_tensor_that_is_used_by_nothing_is_left_out(config, tensors):
    found = torch.variables(config, tensors | {"down.count": np.array(7)})
    same(torch.tensors(config, found), tensors)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("up.bias"), "up.bias is missing: small, width 4. Check"),
        (lambda t: t.update(extra=t["up.bias"]), "extra is not a tensor of this network: small, w"),
        (
            lambda t: t.update({"up.weight": t["up.weight"][:, :, 0]}),
            r"params/up/kernel has shape \(3, 3, 3, 4, 3\).*\(3, 3, 4, 3\).*small, width 4\.",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_the_method_and_its_own_keys(config, tensors, change, said):
    change(tensors)
    with pytest.raises(DataError, match=said):
        torch.variables(config, tensors)


def test_a_method_without_published_tensors_says_so(tensors):
    config = configs.defaults("bare")
    said = "bare has no published tensors: its module has no function `published`"
    with pytest.raises(DataError, match=said):
        torch.variables(config, tensors)
    with pytest.raises(DataError, match=said):
        torch.tensors(config, {})

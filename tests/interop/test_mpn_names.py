"""MPN's published tensors and step sizes become variables, and come back under their names."""

import jax
import numpy as np
import pytest
from support.mpn import TENSORS, fixture_config, small_config, small_weights

import vad_jax
from vad_jax import config as configs
from vad_jax.interop import torch
from vad_jax.methods import mpn
from vad_jax.types import DataError

META = {"stage_names": ("joint", "meta")}


def shapes(config):
    variables = jax.eval_shape(vad_jax.create(config).init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), variables)
    return {name: array.shape for name, array in torch.tensors(config, zeros).items()}


@pytest.fixture(scope="module")
def tensors():
    made = small_weights(shapes(small_config()))
    return {name: array.astype(np.float32) for name, array in made.items()}


@pytest.fixture(scope="module")
def sizes(tensors):
    rng = np.random.default_rng(0)
    return {
        name: rng.uniform(0, 0.1, array.shape).astype(np.float32)
        for name, array in tensors.items()
        if name.startswith(("prototype", "ohead"))
    }


def same(found, expected):
    assert set(found) == set(expected)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_names_and_shapes_are_the_published_ones():
    rows = TENSORS["tensors"].items()
    assert shapes(fixture_config()) == {name: tuple(row["shape"]) for name, row in rows}


def test_layouts_are_turned_as_each_layer_needs(tensors, sizes):
    variables = torch.variables(small_config(), tensors, step_size=sizes)
    params = variables["params"]
    conv, up = params["encoder"]["block2"]["conv1"], params["decoder"]["up3"]["conv"]
    for name, ours, axes in (
        ("prototype.Mheads.weight", params["prototype"]["kernel"], (1, 0)),
        ("encoder.moduleConv2.0.weight", conv["kernel"], (2, 3, 1, 0)),
        ("decoder.moduleUpsample4.0.weight", up["kernel"], (2, 3, 0, 1)),
    ):
        np.testing.assert_array_equal(ours, tensors[name].transpose(axes), err_msg=name)
    np.testing.assert_array_equal(
        variables["state"]["step_size"]["decoder"]["out"]["kernel"],
        sizes["ohead.4.weight"].transpose(2, 3, 1, 0),
    )


@pytest.mark.parametrize("changes", [{}, META])
def test_there_and_back_is_the_same(tensors, sizes, changes):
    """Step sizes are kept also where the configuration has no stage that learns them."""
    config = small_config(**changes)
    variables = torch.variables(config, tensors, step_size=sizes)
    same(torch.tensors(config, variables), tensors)
    same(torch.tensors(config, variables["params"]), tensors)
    same(torch.tensors(config, variables["state"]["step_size"]), sizes)


def test_without_step_sizes_there_are_a_fresh_start_s_or_none(tensors):
    assert torch.variables(small_config(), tensors)["state"] == {}
    config = small_config(**META, **{"meta.step_size": 0.25})
    found = torch.tensors(config, torch.variables(config, tensors)["state"]["step_size"])
    assert all((array == 0.25).all() for array in found.values())
    assert {name for name in tensors if name.startswith(("prototype", "ohead"))} == set(found)


def test_trees_of_some_of_the_parameters_have_their_names(tensors, sizes):
    config = small_config(**META)
    method = vad_jax.create(config)
    begun = method.stages[1].begin(torch.variables(config, tensors, step_size=sizes))
    same(torch.tensors(config, begun["params"]["step_size"]), sizes)
    theta = torch.tensors(config, begun["params"]["init"])
    same(theta, {name: tensors[name] for name in sizes})
    rest = torch.tensors(config, begun["state"]["frozen"])
    same(rest, {name: tensors[name] for name in tensors if name not in sizes})


def test_without_prototypes_there_is_no_tensor_of_theirs(tensors):
    config = small_config(prototypes=0)
    assert set(mpn.published(config).values) == set(tensors) - {"prototype.Mheads.weight"}
    rest = {name: tensors[name] for name in tensors if not name.startswith("prototype")}
    same(torch.tensors(config, torch.variables(config, rest)), rest)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("ohead.2.bias"), r"ohead\.2\.bias is missing: mpn"),
        (lambda t: t.update(prototype=t["ohead.2.bias"]), "prototype is not a tensor of this"),
        (
            lambda t: t.update({"prototype.Mheads.weight": np.zeros((5, 8), np.float32)}),
            r"params/prototype/kernel has shape \(8, 4\).*\(8, 5\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(tensors, change, said):
    given = dict(tensors)
    change(given)
    with pytest.raises(DataError, match=said):
        torch.variables(small_config(), given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("ohead.4.bias"), r"ohead\.4\.bias has no step size among those given"),
        (
            lambda s: [s.pop(f"ohead.{i}.weight") for i in (0, 2)],
            r"ohead\.0\.weight \(and ohead\.2\.weight\) has no step size among those given",
        ),
        (
            lambda s: [s.pop(name) for name in [*s][:6]],
            r"ohead\.0\.weight \(and (ohead\.\d\.\w+, ){3}2 more\) has no step size among",
        ),
        (lambda s: s.update(other=np.zeros(1)), "other has no step size"),
        (
            lambda s: s.update({"encoder.moduleConv1.0.bias": np.zeros(4, np.float32)}),
            r"encoder\.moduleConv1\.0\.bias has no step size: mpn",
        ),
        (
            lambda s: s.update({"ohead.4.bias": np.zeros((), np.float32)}),
            r"step size of ohead\.4\.bias has shape \(\), the tensor \(1,\)",
        ),
    ],
)
@pytest.mark.parametrize("config", [{}, META])
def test_step_sizes_that_do_not_fit_are_named(tensors, sizes, change, said, config):
    """Whether or not the configuration has a stage that learns them."""
    given = dict(sizes)
    change(given)
    with pytest.raises(DataError, match=said):
        torch.variables(small_config(**config), tensors, step_size=given)


@pytest.mark.parametrize("prototypes", [0, 4])
@pytest.mark.parametrize("plug", ["1/1", "1/2", "1/4", "1/8"])
def test_what_has_step_sizes_is_what_meta_training_learns_them_of(plug, prototypes):
    config = small_config(plug=plug, prototypes=prototypes, **META)
    shapes = jax.eval_shape(vad_jax.create(config).init, jax.random.key(0))["state"]["step_size"]
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)
    assert set(mpn.published(config).step_sizes) == set(torch.tensors(config, zeros))


def test_a_method_without_step_sizes_refuses_them(sizes):
    config = configs.complete(configs.defaults("mnad"))
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes(config).items()}
    with pytest.raises(DataError, match="mnad has no step sizes"):
        torch.variables(config, zeros, step_size=sizes)

"""One manner of calling: described, annotated, the key first, options by name only.

What departs from it stands here, with the reason.
"""

import importlib
import inspect
import pkgutil
import pydoc
import re

import pytest

import vad_jax
from vad_jax.types import ConfigError

CONFIGS = {"config", "settings"}  # a ConfigDict, or its section `data`: said by the name

# Functions without a docstring of their own.
UNDESCRIBED = {
    "scoring.videos.Video.stream": "a protocol; the class says what is streamed",
}

# Arguments with a default that may be given by place.
BY_PLACE = {
    "atomic.whole.mode": "as in `open`",
    "cli.Command.run.argv": "the arguments of a command are its input",
    "config_files.config_of.overrides": "what changes the file before it",
    "data.spans.starts.broken": "what the video lacks: data like its length, not an option",
    "data.windows.rows.broken": "what the videos lack: data like their lengths",
    "evaluation.controls.controls.mean_frame": "data like the frames",
    "evaluation.summary.summarise.frames": "data like the scores",
    "evaluation.tables.mark.metric": "the last step of a path into the metrics",
    "evaluation.external_scores.read_external.labels": "data like the scores",
    "runs.locking.locked.flag": "names the folder before it",
    "learning.mesh.make.devices": "what the mesh is made of",
}


def own_members(owner, module):
    """Public functions and classes that are defined in a module, or in a class of it."""
    for name, member in vars(owner).items():
        defined_here = getattr(member, "__module__", None) == module.__name__
        if not name.startswith("_") and defined_here:
            yield name, member


def public_functions():
    """(name below `vad_jax`, function) of all modules; methods of public classes too.

    The classes in `methods/` and the networks in `nets/` are not walked: what leaves them are the
    functions of a `Method`, which `vad_jax.types` describes and the conformance test calls. The
    twins in `benchmarks/peers/` need PyTorch, and nobody else calls them.
    """
    found = []
    names = [module.name for module in pkgutil.walk_packages(vad_jax.__path__, "vad_jax.")]
    names = [name for name in names if not name.startswith("vad_jax.benchmarks.peers.")]
    for module in map(importlib.import_module, ["vad_jax", *names]):
        place = module.__name__.removeprefix("vad_jax").lstrip(".")
        for name, member in own_members(module, module):
            path = f"{place}.{name}".lstrip(".")
            if inspect.isfunction(member):
                found.append((path, member))
            elif inspect.isclass(member) and not place.startswith(("methods.", "nets.")):
                found += [
                    (f"{path}.{inner}", function)
                    for inner, function in own_members(member, module)
                    if inspect.isfunction(function) and function.__name__ != "<lambda>"
                ]
    return found


FUNCTIONS = dict(public_functions())


def parameters(function):
    found = inspect.signature(function).parameters.values()
    return [parameter for parameter in found if parameter.name != "self"]


def test_there_is_something_to_walk():
    assert {"create", "nets.memory.read", "scoring.stream.Stream.push"} <= FUNCTIONS.keys()
    assert {"runs.training.train", "train.main"} <= FUNCTIONS.keys()
    assert len(FUNCTIONS) > 100


def test_a_public_function_says_what_it_means():
    silent = {path for path, function in FUNCTIONS.items() if not inspect.getdoc(function)}
    assert silent == set(UNDESCRIBED), "these need a docstring, or a reason in UNDESCRIBED"


def test_every_argument_and_result_is_annotated():
    bare = [
        f"{path}({parameter.name})"
        for path, function in FUNCTIONS.items()
        for parameter in parameters(function)
        if parameter.annotation is parameter.empty and parameter.name not in CONFIGS
    ]
    bare += [
        f"{path} → ?"
        for path, function in FUNCTIONS.items()
        if inspect.signature(function).return_annotation is inspect.Signature.empty
    ]
    assert not bare, "these lack an annotation"


def test_a_random_key_comes_first():
    places = {
        path: [parameter.name for parameter in parameters(function)].index("key")
        for path, function in FUNCTIONS.items()
        if "key" in inspect.signature(function).parameters
    }
    assert "nets.memory.initial_items" in places
    assert not any(places.values()), "these do not have their key first"


def test_options_are_given_by_name():
    by_place = {
        f"{path}.{parameter.name}"
        for path, function in FUNCTIONS.items()
        for parameter in parameters(function)
        if parameter.default is not parameter.empty
        and parameter.kind is not parameter.KEYWORD_ONLY
        and path.rpartition(".")[0] not in ("types.Stage", "types.Method")  # fields, not methods
        and not path.endswith("main")  # of a command: its arguments are its input
    }
    assert by_place == set(BY_PLACE), "these need a `*` before them, or a reason in BY_PLACE"


@pytest.mark.parametrize("name", ["vad_jax", "vad_jax.evaluation", "vad_jax.datasets"])
def test_all_that_is_listed_can_be_imported(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for listed in module.__all__:
        assert getattr(module, listed) is not None


def test_completion_and_help_offer_what_there_is():
    assert {*vad_jax.__all__, "config", "evaluation", "types"} <= set(dir(vad_jax))
    for name in dir(vad_jax):
        assert getattr(vad_jax, name) is not None or name == "__doc__"
    told = pydoc.plain(pydoc.render_doc(vad_jax))
    for name in vad_jax.__all__:
        assert re.search(rf"^ +{name}\b", told, re.M), name


@pytest.mark.parametrize("given", ["mnad", "configs/mnad.py", None, {"method": "mnad"}, 3])
def test_what_is_no_config_is_told_what_is(given):
    said = r'is no config.*vad_jax.config.defaults\("mnad"\).*config_of\("configs/NAME.py:PRESET"\)'
    with pytest.raises(ConfigError, match=said):
        vad_jax.create(given)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Detecter'"):
        _ = vad_jax.Detecter

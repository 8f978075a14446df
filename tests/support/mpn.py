"""The arrays of `tests/data/mpn_*` and what rebuilds their inputs; described in its README."""

import json
import zlib
from pathlib import Path

import numpy as np

from vad_jax import config as configs
from vad_jax.interop import torch

DATA = Path(__file__).resolve().parents[1] / "data"
TENSORS = json.loads((DATA / "mpn_tensors.json").read_text())
FORWARD, META = (dict(np.load(DATA / f"mpn_{name}.npz")) for name in ("forward", "meta"))
RELATIVE = 1e-8  # to the largest entry


def drawn(name):
    return np.random.RandomState(zlib.crc32(name.encode()))


def recipe(name, shape, kind):
    """The fixture's weights: a normal draw seeded by the tensor's name."""
    z = drawn(name).standard_normal(shape)
    if kind in ("conv_kernel", "convt_kernel"):
        fan_in = shape[1] if kind == "conv_kernel" else shape[0]
        return z * np.sqrt(2 / (fan_in * 9))
    return {"bias": 0.05, "attention": 4}[kind] * z


def weights(dtype=np.float64):
    rows = TENSORS["tensors"].items()
    return {name: recipe(name, **row).astype(dtype) for name, row in rows}


def step_sizes(variant):
    """Of θ's tensors: uniform draws seeded by their names, far larger than real ones."""
    factor = TENSORS["alpha_factor"][variant]
    return {
        name: factor
        * TENSORS["alpha_scale"][name]
        * drawn(f"alpha:{name}").uniform(0.5, 1.5, TENSORS["tensors"][name]["shape"])
        for name in TENSORS["theta"]
    }


def fixture_config(**changes):
    config = configs.defaults("mpn")
    config.input.update(height=32, width=32)
    config.update_from_flattened_dict(changes)
    return configs.complete(config)


def with_step_sizes():
    """Variant → variables of the fixture's weights and step sizes."""
    return {
        variant: torch.variables(
            fixture_config(variant=variant), weights(), step_size=step_sizes(variant)
        )
        for variant in ("code", "paper")
    }


def nchw(array):
    """Our array in torch layout."""
    return np.moveaxis(np.asarray(array), -1, 1)


def has(arrays, key):
    return key in arrays or f"{key}#sample" in arrays


def agrees(arrays, key, ours):
    """Compares with an array that is stored whole, or as a strided sample, L2 norm and sum."""
    ours = np.asarray(ours)
    if key in arrays:
        _within(ours, arrays[key], RELATIVE * np.abs(arrays[key]).max(), key)
        return
    norm, total, stride, *shape = arrays[f"{key}#of"]
    assert ours.shape == tuple(map(int, shape)), key
    expected = arrays[f"{key}#sample"]
    largest = np.abs(expected).max()
    _within(ours.ravel()[:: int(stride)], expected, RELATIVE * largest, key)
    np.testing.assert_allclose(np.linalg.norm(ours), norm, rtol=RELATIVE, err_msg=key)
    _within(np.sum(ours), total, RELATIVE * max(abs(total), norm), key)


def agree_in_theta(arrays, key, tree):
    """A tree against the arrays `KEY/NAME` of θ's tensors."""
    named = torch.tensors(fixture_config(), tree)
    for name in TENSORS["theta"]:
        agrees(arrays, f"{key}/{name}", named[name])


def _within(found, expected, atol, key):
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=key)


def batch(frames, *, mask=None):
    rows = len(frames)
    mask = np.ones(rows, bool) if mask is None else mask
    numbering = np.arange(rows, dtype=np.int32)
    return {"frames": frames, "mask": mask, "video": 0 * numbering, "frame": numbering}


def windows(frames):
    return np.stack([frames[i : i + 5] for i in range(len(frames) - 4)])


def pair():
    """The two windows that the forward arrays are of."""
    return batch(np.stack([windows(FORWARD["frames/0"])[3], windows(FORWARD["frames/1"])[11]]))


def episode(number):
    """One of the two, as a batch."""

    def clips(side):
        return windows(META[f"frames/episode{number}"])[META[f"{side}/episode{number}"]][None]

    some = np.ones((1, 2), bool)
    return {
        **{side: clips(side) for side in ("support", "query")},
        "support_mask": some,
        "query_mask": some,
        "mask": np.ones(1, bool),
        "video": np.zeros(1, np.int32),
        "frame": np.zeros(1, np.int32),
    }


def small_config(**changes):
    """Grey, 16x16, width 4, 4 prototypes."""
    config = configs.defaults("mpn")
    config.input.update(height=16, width=16, channels=1)
    config.width, config.prototypes = 4, 4
    config.update_from_flattened_dict(changes)
    return configs.complete(config)


def small_weights(shapes):
    """The recipe's weights for state-dict names and shapes of any size."""

    def kind(name):
        if name.startswith("prototype"):
            return "attention"
        if name.endswith("bias"):
            return "bias"
        return "convt_kernel" if "Upsample" in name else "conv_kernel"

    return {name: recipe(name, shape, kind(name)) for name, shape in shapes.items()}

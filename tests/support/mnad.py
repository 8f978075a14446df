"""The arrays of `tests/data/mnad_*` and what rebuilds their inputs; described in its README."""

import json
import zlib
from pathlib import Path

import numpy as np

from vad_jax import config as configs

DATA = Path(__file__).resolve().parents[1] / "data"
TENSORS = json.loads((DATA / "mnad_tensors.json").read_text())
FRAMES = dict(np.load(DATA / "mnad_frames.npz"))
EVAL, TRAIN, TEST = (dict(np.load(DATA / f"mnad_{name}.npz")) for name in ("eval", "train", "test"))
ABSOLUTE = 1e-8


def recipe(shape, name, kind):
    """The fixture's weights: a normal draw seeded by the tensor's name."""
    z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if kind in ("conv_kernel", "convt_kernel"):
        fan_in = shape[1] if kind == "conv_kernel" else shape[0]
        return z * np.sqrt(2 / (fan_in * 9))
    return {
        "bias": 0.05 * z,
        "bn_weight": 1 + 0.1 * z,
        "bn_bias": 0.1 * z,
        "bn_mean": 0.1 * z,
        "bn_var": np.abs(1 + 0.1 * z),
        "bn_count": np.zeros(shape, np.int64),
    }[kind]


def weights(task):
    rows = TENSORS[task]
    return {row["name"]: recipe(row["shape"], row["name"], row["kind"]) for row in rows}


def items():
    z = np.random.RandomState(zlib.crc32(b"m_items")).standard_normal((10, 512))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def fixture_config(**changes):
    config = configs.defaults("mnad")
    config.input.update(height=64, width=64)
    config.stages.train.schedule = "constant"
    config.update_from_flattened_dict(changes)
    return configs.complete(config)


def nchw(array):
    """Our array in torch layout."""
    array = np.asarray(array)
    return np.moveaxis(array, -1, 1) if array.ndim == 4 else array


def agrees(arrays, key, ours, *, atol=ABSOLUTE, rtol=1e-9):
    """Compares with an array that is stored whole, or as norm and strided sample."""
    ours = np.asarray(ours)
    if key in arrays:
        np.testing.assert_allclose(ours, arrays[key], rtol=0, atol=atol, err_msg=key)
        return
    expected = arrays[f"{key}#sample"]
    flat = ours.ravel()
    strides = (1 if flat.size <= n else (flat.size // n) | 1 for n in (96, 256, 512, 1024, 2048))
    stride = next(s for s in strides if flat[::s].size == expected.size)
    np.testing.assert_allclose(flat[::stride], expected, rtol=0, atol=atol, err_msg=key)
    np.testing.assert_allclose(np.linalg.norm(ours), arrays[f"{key}#norm"], rtol=rtol, atol=atol)


def batch(frames, *, mask=None):
    rows = len(frames)
    mask = np.ones(rows, bool) if mask is None else mask
    numbering = np.arange(rows, dtype=np.int32)
    return {"frames": frames, "mask": mask, "video": 0 * numbering, "frame": numbering}


def windows(frames):
    return np.stack([frames[i : i + 5] for i in range(len(frames) - 4)])

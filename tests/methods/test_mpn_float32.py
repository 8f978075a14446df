"""MPN in float32 against the float64 arrays, within four times what the published network differs.

Its largest differences: `output` 6e-7 and `prototypes` 4e-7 absolute, losses 1e-7 relative, 0.1 %
of the pixels with another nearest prototype. Gradients are compared by their norms.
"""

import jax
import numpy as np
import pytest
from support.mpn import FORWARD, fixture_config, has, nchw, pair, weights

import vad_jax
from vad_jax.interop import torch
from vad_jax.methods import mpn

PARTS = ("frame", "compact", "diverse")


@pytest.fixture(scope="module")
def variables():
    return torch.variables(fixture_config(), weights(np.float32))


def differs(key, found):
    """Largest difference to the entries that are kept of an array."""
    stride = int(FORWARD[f"{key}#of"][2])
    return np.abs(np.asarray(found).ravel()[::stride] - FORWARD[f"{key}#sample"]).max()


def test_the_unit_the_frame_and_the_losses(variables):
    models = {variant: mpn.Model(fixture_config(variant=variant)) for variant in ("code", "paper")}

    @jax.jit
    def run(params):
        found = {}
        for variant, model in models.items():
            features = model.features(params, pair()["frames"], pair()["mask"])
            _, (parts, seen) = model.objective(params, features, model.weights)
            output, _ = model.predicted(params, features)
            found[variant] = {"output": output, "parts": parts, **seen}
        return found

    for variant, seen in jax.device_get(run(variables["params"])).items():
        key = "" if variant == "code" else "paper/"
        assert seen["output"].dtype == np.float32
        assert differs(f"{key}output", nchw(seen["output"])) < 4 * 6e-7
        made = "prototypes_unit" if variant == "code" else "prototypes"
        assert differs(made, seen["prototypes"]) < 4 * 4e-7
        nearest = np.argmax(seen["match"], axis=-1)
        assert np.mean(nearest != FORWARD[f"{key}nearest"]) <= 1e-3
        for name in PARTS:
            expected = FORWARD[f"{key}loss_{name}"]
            np.testing.assert_allclose(seen["parts"][name], expected, rtol=4e-7, err_msg=name)


def test_norms_of_the_gradients(variables):
    stage = vad_jax.create(fixture_config()).stages[0]

    @jax.jit
    @jax.grad
    def gradient(params, share):
        _, (_, parts) = stage.loss(params, {}, pair(), None, train=True)
        return sum(s * parts[name] for s, name in zip(share, PARTS, strict=True))

    config = fixture_config()
    for part, share in zip(PARTS, np.eye(3, dtype=np.float32), strict=True):
        named = torch.tensors(config, gradient(variables["params"], share))
        for name, value in named.items():
            key = f"grad_{part}/{name}"
            if has(FORWARD, key):
                norm = (
                    FORWARD[f"{key}#of"][0]
                    if f"{key}#of" in FORWARD
                    else np.linalg.norm(FORWARD[key])
                )
                np.testing.assert_allclose(np.linalg.norm(value), norm, rtol=1e-3, err_msg=key)
            else:
                np.testing.assert_array_equal(value, 0, err_msg=key)

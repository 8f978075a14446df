"""The PyTorch twin of MPN computes what we compute; float64, so that only rounding is left."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import vad_jax
from vad_jax import config as configs
from vad_jax.benchmarks import cases, peers
from vad_jax.interop import torch as interop
from vad_jax.learning import stage_run
from vad_jax.types import ConfigError, DataError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("x64")

CLOSE = {"rtol": 1e-9, "atol": 1e-11}  # sums of some thousand float64 in another order
CASES = {
    "full": {},
    "half": {"plug": "1/2", "temperature.match": 0.1},
    "no_prototypes": {"prototypes": 0},
}


def made(**changes):
    """A completed config of seconds."""
    config = configs.defaults("mpn")
    config.input.update(height=16, width=24, channels=3)
    config.width = 4
    config.stage_names = ("joint", "meta")
    config.stages.joint.batch_size = 3
    config.update_from_flattened_dict({"prototypes": 4, "weights.diverse": 0.1, **changes})
    config.meta.update(step_size=1e-2, step_size_learning_rate=3e-4)
    return configs.complete(config)


@pytest.fixture(scope="module", params=CASES)
def twin(request):
    """Config, method, float64 variables and published tensors."""
    config = made(**CASES[request.param])
    method = vad_jax.create(config)
    variables = jax.jit(method.init)(jax.random.key(0))
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), variables)
    return config, method, variables, interop.tensors(config, variables["params"])


@pytest.fixture(scope="module")
def peer():
    peers.prepare()
    return peers.find("mpn")


def three_steps(stage, variables, batch):
    """Losses of three steps of ours, and the gradients of the first."""
    adam = stage.optimizer(steps_per_epoch=100, steps=100)

    def update(gradients, slots, params):
        updates, slots = adam.update(gradients, slots["adam"], params)
        return updates, {"adam": slots, "gradients": gradients}

    step = jax.jit(stage_run.train_step(stage, optax.GradientTransformation(adam.init, update)))
    slots = {"adam": adam.init(variables["params"]), "gradients": variables["params"]}
    losses, gradients = [], []
    for _ in range(3):
        variables, slots, metrics = step(variables, slots, batch, jax.random.key(0))
        losses.append(float(metrics["loss"]))
        gradients.append(slots["gradients"])
    return losses, gradients[0]


def test_same_loss_gradients_and_steps_of_adam(twin, peer):
    config, method, variables, tensors = twin
    batch = cases.batch(method.inputs, 3)
    losses, gradients = three_steps(method.stages[0], variables, batch)
    expected = interop.tensors(config, gradients)
    for mode in ("eager", "channels_last"):
        model = peer.Model(config, tensors, mode=mode)
        theirs = model.objective(torch.from_numpy(batch["frames"]))
        theirs.backward()
        np.testing.assert_allclose(theirs.item(), losses[0], **CLOSE)
        found = {name: p.grad.numpy() for name, p in model.named_parameters()}
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_allclose(array, expected[name], **CLOSE, err_msg=name)
    step = peer.train_step(config, tensors, None, mode="eager")
    found = [step(batch["frames"]).item() for _ in range(3)]
    np.testing.assert_allclose(found, losses, rtol=1e-8)
    assert losses[0] > losses[2]


def test_same_parts(twin, peer):
    config, method, variables, tensors = twin
    batch = cases.batch(method.inputs, 3)
    _, scores = jax.jit(method.score)(variables, (), batch)
    theirs = peer.score(config, tensors, None, mode="channels_last")(batch["frames"]).numpy()
    names = ("psnr_frame", "psnr_feature") if config.prototypes else ("psnr_frame",)
    for part, column in zip(names, theirs.T, strict=True):
        np.testing.assert_allclose(column, scores.parts[part][:, 0], **CLOSE, err_msg=part)


@pytest.mark.parametrize(("twin", "order"), [("full", 2), ("half", 1)], indirect=["twin"])
def test_same_losses_after_meta_steps(twin, peer, order):
    config, _, variables, tensors = twin
    config = config.copy_and_resolve_references()
    config.meta.update(order=order, steps=2)
    config.stages.meta.update(batch_size=2, learning_rate=1e-3)
    stage = vad_jax.create(config).stages[1]
    batch = cases.batch(stage.inputs, 2)
    step = peer.meta_step(config, tensors, None, mode="eager")
    found = [step(cases.frames(batch)).item() for _ in range(3)]
    expected, _ = three_steps(stage, stage.begin(variables), batch)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert expected[0] > expected[2]


def test_what_the_twin_has_not_got_is_named(peer):
    give = {"mode": "eager"}
    with pytest.raises(ConfigError, match=r"variant = 'paper'.*variant=code"):
        peer.score(made(variant="paper"), {}, None, **give)
    with pytest.raises(ConfigError, match=r"trains the stage joint.*leave --torch out"):
        peer.train_step(made(stage_names=("pretrain", "joint")), {}, None, **give)
    with pytest.raises(ConfigError, match=r"step_size_map=identity"):
        peer.meta_step(made(step_size_map="softplus"), {}, None, **give)
    with pytest.raises(ConfigError, match=r"no second derivatives"):
        peer.meta_step(made(), {}, None, mode="compile")
    with pytest.raises(DataError, match="is missing"):
        peer.score(made(), {"encoder.moduleConv1.0.bias": np.zeros(4)}, None, **give)

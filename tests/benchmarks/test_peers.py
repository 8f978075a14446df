"""The PyTorch twins compute what we compute; float64, so that only rounding is left."""

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
    "prediction": {"task": "prediction"},
    "middle": {"task": "middle"},
    "no_memory": {"memory.items": 0},
}


@pytest.fixture(scope="module", params=CASES)
def twin(request):
    """Config, method, float64 variables, published tensors, items, and a batch."""
    config = configs.defaults("mnad")
    config.input.update(height=16, width=24, channels=3)
    config.width = 4
    config.stages.train.update(batch_size=3, schedule="constant")
    config.update_from_flattened_dict(
        {"memory.items": 4, "memory.update": "never", **CASES[request.param]}
    )
    config = configs.complete(config)
    method = vad_jax.create(config)
    variables = method.init(jax.random.key(0))
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), variables)
    memory = variables["state"].get("memory")
    memory = None if memory is None else np.asarray(memory)
    tensors = interop.tensors(config, variables["params"])
    return config, method, variables, tensors, memory, cases.batch(method.inputs, 3)


@pytest.fixture(scope="module")
def ours(twin):
    """Losses of three steps of ours; gradients and moved state of the first."""
    _, method, variables, _, _, batch = twin
    adam = method.stages[0].optimizer(steps_per_epoch=100, steps=100)

    def update(gradients, slots, params):
        updates, slots = adam.update(gradients, slots["adam"], params)
        return updates, {"adam": slots, "gradients": gradients}

    noting = optax.GradientTransformation(adam.init, update)
    step = jax.jit(stage_run.train_step(method.stages[0], noting))
    slots = {"adam": adam.init(variables["params"]), "gradients": variables["params"]}
    done = []
    for _ in range(3):
        variables, slots, metrics = step(variables, slots, batch, jax.random.key(0))
        done.append((metrics["loss"], slots["gradients"], variables["state"]))
    return [float(loss) for loss, *_ in done], *done[0][1:]


@pytest.fixture(scope="module")
def peer():
    peers.prepare()
    return peers.find("mnad")


@pytest.mark.parametrize("mode", ["eager", "channels_last"])
def test_same_loss_gradients_and_items(twin, ours, peer, mode):
    config, _, _, tensors, memory, batch = twin
    losses, gradients, state = ours
    model = peer.Model(config, tensors, mode=mode).train()
    items = None if memory is None else torch.tensor(memory)
    theirs, items = model.objective(torch.from_numpy(batch["frames"]), items)
    theirs.backward()
    np.testing.assert_allclose(theirs.item(), losses[0], **CLOSE)
    expected = interop.tensors(config, gradients)
    found = {name: p.grad.numpy() for name, p in model.named_parameters()}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name], **CLOSE, err_msg=name)
    if memory is not None:
        np.testing.assert_allclose(items.numpy(), state["memory"], **CLOSE)


def test_same_losses_after_steps_of_adam(twin, ours, peer):
    config, _, _, tensors, memory, batch = twin
    step = peer.train_step(config, tensors, memory, mode="eager")
    # Adam divides by gradients that are zero but for rounding: biases before a BatchNorm.
    losses = [step(batch["frames"]).item() for _ in range(3)]
    np.testing.assert_allclose(losses, ours[0], rtol=1e-7)


@pytest.mark.parametrize("twin", ["prediction", "no_memory"], indirect=True)
def test_same_parts(twin, peer):
    config, method, variables, tensors, memory, batch = twin
    _, scores = jax.jit(method.score)(variables, method.start(variables), batch)
    theirs = peer.score(config, tensors, memory, mode="channels_last")(batch["frames"]).numpy()
    names = ("psnr", "distance") if config.memory["items"] else ("psnr",)
    for part, column in zip(names, theirs.T, strict=True):
        np.testing.assert_allclose(column, scores.parts[part][:, 0], **CLOSE, err_msg=part)


@pytest.mark.slow
@pytest.mark.parametrize("twin", ["prediction"], indirect=True)
def test_compiled_is_the_same_as_eager(twin, peer):
    config, _, _, tensors, memory, batch = twin
    tensors = {name: np.asarray(array, np.float32) for name, array in tensors.items()}
    close = {"rtol": 1e-4}  # float32, through BatchNorms of a few pixels
    for make in (peer.train_step, peer.score):
        one, other = (make(config, tensors, memory, mode=mode) for mode in ("eager", "compile"))
        for _ in range(2):
            one_result, other_result = one(batch["frames"]), other(batch["frames"])
            np.testing.assert_allclose(one_result.numpy(), other_result.numpy(), **close)


def test_a_method_without_a_twin_is_named():
    with pytest.raises(ConfigError, match=r"no PyTorch twin of nothing.*leave --torch out"):
        peers.find("nothing")


def test_the_papers_variant_has_no_twin(peer):
    config = configs.defaults("mnad")
    config.variant = "paper"
    with pytest.raises(ConfigError, match=r"variant = 'paper'.*variant=code"):
        peer.train_step(configs.complete(config), {}, None, mode="eager")


def test_tensors_of_another_network_are_refused(peer):
    config = configs.complete(configs.defaults("mnad"))
    with pytest.raises(DataError, match="is missing"):
        peer.score(config, {"encoder.moduleConv1.0.bias": np.zeros(64)}, None, mode="eager")

"""MPN's meta-training against arrays of the published modules in float64, both orders and variants.

The arrays are described in `tests/data/README.md`; weights come from a recipe, by name.
"""

import functools
import itertools

import jax
import optax
import pytest
from support.mpn import META, agree_in_theta, agrees, episode, fixture_config, with_step_sizes

import vad_jax
from vad_jax.learning import optim

# Derivatives of derivatives take ten times as long where they are compiled fast.
pytestmark = pytest.mark.usefixtures("x64", "fully_optimised")

VARIANTS = ("code", "paper")
# Of Adam's steps: a program of its own, which runs four times.
OF_ADAM = (("code", 1, 1), ("code", 1, 2))
OTHERS = tuple(case for case in itertools.product(VARIANTS, (1, 2), (1, 2)) if case not in OF_ADAM)


@functools.cache
def episode_gradients(cases):
    """(variant, steps, order) → meta-loss and meta-gradient of an episode, by one program."""

    @jax.jit
    def found(begun, example):
        def one(variant, steps, order):
            loss = functools.partial(meta_stage(variant, steps, order).loss, train=True)
            params, state = (begun[variant][name] for name in ("params", "state"))
            return jax.value_and_grad(loss, has_aux=True)(params, state, example, None)

        return {case: one(*case) for case in cases}

    return found


@functools.cache
def meta_stage(variant, steps, order):
    changes = {
        "variant": variant,
        "meta.steps": steps,
        "meta.order": order,
        "stage_names": ("joint", "meta"),
    }
    changes |= {
        "stages.meta.learning_rate": float(META["meta_adam/lr_theta"]),
        "meta.step_size_learning_rate": float(META["meta_adam/lr_alpha"]),
    }
    return vad_jax.create(fixture_config(**changes)).stages[1]


@pytest.fixture(scope="module")
def begun(x64):
    """Variables of both variants as meta-training begins with them."""
    variables = with_step_sizes()
    return {variant: meta_stage(variant, 1, 2).begin(variables[variant]) for variant in VARIANTS}


@pytest.fixture(scope="module")
def first_episode(begun, fully_optimised):
    """(variant, steps, order) → meta-loss and meta-gradient of the first episode."""
    return {
        case: found
        for cases in (OF_ADAM, OTHERS)
        for case, found in episode_gradients(cases)(begun, episode(0)).items()
    }


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_and_meta_gradients(first_episode, variant, steps):
    for order in (1, 2):
        (outer, (_, parts)), found = first_episode[variant, steps, order]
        key = f"{variant}/T{steps}/order{order}"
        agrees(META, f"{key}/outer_loss", outer)
        assert parts["inner"] == pytest.approx(META[f"{key}/inner_losses"][0], rel=1e-8)
        agree_in_theta(META, f"{key}/d_theta", found["init"])
        agree_in_theta(META, f"{key}/d_alpha", found["step_size"])


def test_two_steps_of_two_adams(begun):
    stage = meta_stage("code", 1, 2)
    params, state = begun["code"]["params"], begun["code"]["state"]
    optimizer = stage.optimizer(steps_per_epoch=2, steps=2)
    slots = optimizer.init(params)
    for number in (1, 2):
        now = {**begun, "code": {"params": params, "state": state}}
        found = [episode_gradients(OF_ADAM)(now, episode(which))["code", 1, 2] for which in (0, 1)]
        gradient = jax.tree.map(lambda a, b: (a + b) / 2, *(g for _, g in found))
        if number == 1:
            agree_in_theta(META, "meta_adam/mean_d_theta", gradient["init"])
            agree_in_theta(META, "meta_adam/mean_d_alpha", gradient["step_size"])
        else:
            losses = [(parts["inner"], outer) for (outer, (_, parts)), _ in found]
            agrees(META, "meta_adam/losses_second_step", losses)
        updates, slots = optimizer.update(gradient, slots, params)
        params = optax.apply_updates(params, updates)
        agree_in_theta(META, f"meta_adam/theta_after{number}", params["init"])
        agree_in_theta(META, f"meta_adam/alpha_after{number}", params["step_size"])
    assert optim.learning_rate(slots) == float(META["meta_adam/lr_theta"])

"""Statistics of a new scene: each half of its clips scored after adaptation to the other."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import SIZE, spec, toy

from vad_jax.learning import meta
from vad_jax.learning.scene import scene_statistics
from vad_jax.learning.statistics import summary
from vad_jax.learning.step_search import Plan

PLAN = Plan(steps=2, learning_rate=0.3, before=None, after=None, says="")


def method_of(**options):
    """The toy, whose `level` is adapted."""
    method = toy(spec(frames=4, sees=(0, 1, 2, 3), scored=(2, 3), step=2), **options)
    (stage,) = method.stages

    def adapt(variables, support, *, steps, learning_rate=None):
        def loss(params, support):
            return stage.loss(params, variables["state"], support, None, train=False)[0]

        params, losses = meta.adapt(
            loss, variables["params"], learning_rate, support, steps=steps, subset="level"
        )
        return {**variables, "params": params}, losses

    return dataclasses.replace(method, adapt=adapt)


@pytest.fixture(scope="module")
def clips():
    frames = np.random.default_rng(0).integers(0, 256, (6, 4, SIZE, SIZE, 1), np.uint8)
    number = np.arange(6, dtype=np.int32)
    return {"frames": frames, "mask": number >= 0, "video": number, "frame": number}


@pytest.mark.parametrize("carried", ["none", "video"])
def test_no_clip_is_judged_by_what_was_adapted_to_it(clips, carried):
    method = method_of(carried=carried)
    variables = method.init(jax.random.key(0))
    found, map_99 = scene_statistics(method, variables, clips, PLAN)
    expected, highest = {}, []
    for judged in (slice(3, 6), slice(0, 3)):
        on = np.ones(6, bool)
        on[judged] = False
        half = {name: leaf[on] for name, leaf in clips.items()}
        moved, _ = method.adapt(variables, half, steps=2, learning_rate=0.3)
        for place in range(*judged.indices(6)):
            one = {name: leaf[place : place + 1] for name, leaf in clips.items()}
            _, scores = method.score(moved, method.start(moved), one)
            for name, part in scores.parts.items():
                expected.setdefault(name, []).append(np.asarray(part))
            highest.append(np.quantile(np.asarray(scores.maps), 0.99))
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        wanted = summary(values)
        assert found[name]["count"] == wanted["count"] == 12
        for kind in ("mean", "std", "min", "max"):
            assert found[name][kind] == pytest.approx(wanted[kind], rel=1e-4, abs=1e-6)
    assert map_99 == pytest.approx(np.mean(highest), rel=1e-4)


def test_what_was_adapted_on_would_score_lower(clips):
    method = method_of()
    variables = method.init(jax.random.key(0))
    found, _ = scene_statistics(method, variables, clips, PLAN)
    moved, _ = method.adapt(variables, clips, steps=2, learning_rate=0.3)
    seen = method.score(moved, (), clips)[1].parts["excess"]
    assert jnp.abs(jnp.mean(seen)) < abs(found["excess"]["mean"])

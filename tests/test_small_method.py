"""Adding a method touches one file in `methods/` and one in `configs/`, and nothing else.

The two files stand here as a newcomer would write them, by `docs/architecture.md`: three lines of
mathematics, several frames scored by a window, nothing to train. All commands take it.
"""

import csv
import json
import sys

import numpy as np
import pytest

import vad_jax
from vad_jax import evaluate, methods, score, train
from vad_jax.evaluation import read_metrics, read_scores

METHOD = '''"""Change: how much neighbouring frames differ."""

import jax.numpy as jnp

from vad_jax.nets import drawing
from vad_jax.nets.pixels import numbers
from vad_jax.types import Fusion, InputSpec, Key, Method, Scores

KEYS = {
    "input.height": Key(16, "pixels", above=0),
    "input.width": Key(16, "pixels", above=0),
    "frames": Key(4, "of a window", least=2),
}


def complete(config) -> None:
    """Nothing follows from other keys."""


def create(config) -> Method:
    """The method of a completed config."""
    spec = InputSpec(
        frames=config.frames, sees=tuple(range(config.frames)), target=None,
        scored=tuple(range(config.frames)), height=config.input.height,
        width=config.input.width, channels=1, colour="grey", range=(0.0, 1.0),
        step=config.frames, lead=1, tail="align",
    )

    def change(batch):
        frames = numbers(batch["frames"], spec.range, float)[..., 0]  # [B, 1 + T, H, W]
        return jnp.square(frames[:, 1:] - frames[:, :-1])

    def score(variables, carry, batch):
        maps = change(batch)
        mean = jnp.mean(maps, axis=(2, 3))
        return carry, Scores({"change": jnp.where(batch["mask"][:, None], mean, jnp.nan)}, maps)

    def pictures(variables, batch):
        frames = numbers(batch["frames"], spec.range, float)[:, 1:]
        return {
            "target": drawing.image(frames, "frame"),
            "change": drawing.image(jnp.sqrt(change(batch))[..., None], "change"),
        }

    def adapt(variables, support, *, steps, learning_rate=None):
        return variables, jnp.zeros(steps)

    return Method(
        inputs=spec, stages=(), carry_over="none",
        fusion=Fusion(
            paper=(("assign", "mean"), ("minmax", "video"), ("combine", "fused", {"change": 1.0})),
            online=(("assign", "mean"), ("standardise",), ("combine", "fused", {"change": 1.0})),
            default="fused",
        ),
        init=lambda key: {"params": {}, "state": {}}, start=lambda variables: (), score=score,
        adapt=adapt, pictures=pictures,
    )
'''

CONFIG = '''"""Change: nothing is trained.

    python -m vad_jax.train --config=configs/change.py
"""

from vad_jax import config as configs


def get_config(preset="tiny"):
    return configs.defaults("change")
'''


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """The two files, where Python finds the one and the commands are told of the other."""
    place = tmp_path_factory.mktemp("added")
    (place / "methods").mkdir()
    (place / "methods" / "change.py").write_text(METHOD)
    (place / "config.py").write_text(CONFIG)
    methods.__path__.append(str(place / "methods"))
    yield place / "config.py"
    methods.__path__.remove(str(place / "methods"))
    sys.modules.pop("vad_jax.methods.change", None)


@pytest.fixture(scope="module")
def command(added, synthetic_root, tmp_path_factory):
    """What a user types to train, and where the run is kept."""
    workdir = tmp_path_factory.mktemp("runs") / "change"
    overrides = {
        "data.name": "synthetic",
        "data.root": synthetic_root,
        "data.cache": synthetic_root.parent / "cache",
        "data.validation": "05",
    }
    flags = [f"--config.{key}={value}" for key, value in overrides.items()]
    return [f"--config={added}", f"--workdir={workdir}", *flags], workdir


@pytest.fixture(scope="module")
def run(command):
    arguments, workdir = command
    assert train.main(arguments) == 0
    return workdir


def test_it_is_evaluated_with_figures_maps_and_pictures(run):
    metrics = read_metrics(run / "metrics.json")
    assert metrics["data"]["scored"] == 720  # every frame of six videos, by lead and aligned tail
    micro = metrics["protocols"]["online"]["raw"]["auc_micro"]["value"]
    control = metrics["controls"]["online"]["raw"]["auc_micro"]["mean squared difference"]
    assert micro == pytest.approx(control["value"], abs=0.1)  # that is what it measures
    assert metrics["protocols"]["online"]["raw"]["pixel_auc"]["value"] > 0.5
    assert metrics["calibration"]["threshold"] is not None
    kinds = {entry["kind"] for entry in json.loads((run / "pictures" / "index.json").read_text())}
    assert {"hit", "false_alarm", "miss"} <= kinds
    assert "frame · change · squared error" in (run / "report.html").read_text()


def test_the_same_command_goes_on_where_it_was(command, run):
    before = read_scores(run / "scores.npz").scores["online_raw"]
    assert train.main(command[0]) == 0
    after = read_scores(run / "scores.npz").scores["online_raw"]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert evaluate.main([f"--workdir={run}"]) == 0


def test_it_scores_files_and_streams_alike(run, synthetic_root, tmp_path):
    import cv2

    folder = synthetic_root / "testing" / "frames" / "01"
    found = [f"--workdir={run}", f"--source={folder}", f"--output={tmp_path / 'scored'}"]
    assert score.main([*found, "--overlay", "--fps=10"]) == 0
    rows = list(csv.DictReader((tmp_path / "scored" / "01.csv").open()))
    detector = vad_jax.load(run)
    frames = [cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in sorted(folder.glob("*.png"))]
    stream = detector.stream()
    said = [pair for frame in frames for pair in stream.push(frame)] + stream.flush()
    assert [place for place, _ in said] == list(range(len(frames)))
    values = [float(row["score"]) for row in rows]
    np.testing.assert_allclose([value for _, value in said], values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(detector.score(frames).score, values, rtol=1e-4, atol=1e-5)
    assert (tmp_path / "scored" / "01.mp4").stat().st_size > 0

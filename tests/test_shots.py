"""K-shot evaluation: the same frames for every K, none shared with the support, each anew."""

import functools
import json

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vad_jax
from vad_jax import evaluation
from vad_jax.data.supports import choose, spread
from vad_jax.data.windows import frame_indices, starts
from vad_jax.evaluate import labelled
from vad_jax.runs import adaptation as shots
from vad_jax.runs import few_shot as kshot
from vad_jax.runs.few_shot import evaluate_shots
from vad_jax.types import ConfigError, DataError, InputSpec

SPEC = InputSpec(
    frames=5, sees=(0, 1, 2, 3), target=4, scored=(4,), height=8, width=8, channels=1, colour="grey"
)


@pytest.fixture(scope="module")
def detector(meta_run):
    return vad_jax.load(meta_run[0])


@pytest.fixture(scope="module")
def test_videos(detector):
    _, videos, truth = labelled(detector)
    return videos, truth.values


@pytest.fixture(scope="module")
def found(detector, test_videos):
    return kshot.few_shot(detector, *test_videos, [0, 1, 3], support="first", steps=2)


@given(st.integers(0, 60), st.integers(1, 12), st.sets(st.integers(0, 60), max_size=5))
def test_query_windows_share_no_frame_with_any_support(length, number, broken):
    own = choose(SPEC, length, broken, number)
    taken = set(frame_indices(SPEC, own.support).ravel().tolist())
    assert not taken & set(frame_indices(SPEC, own.query).ravel().tolist())
    assert len(own.support) == min(number, len(starts(SPEC, length, broken)))


def test_a_normal_support_holds_normal_frames_only():
    normal = np.ones(40, bool)
    normal[3] = normal[20:25] = False
    own = choose(SPEC, 40, (), 30, normal=normal)
    assert normal[frame_indices(SPEC, own.support)].all()
    assert own.support[0] == 4


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.integers(1, 20))
def test_a_support_has_all_its_shots_where_there_are_as_many_windows(lengths, number):
    broken = [()] * len(lengths)
    whole = [starts(SPEC, length) for length in lengths]
    for where in ("first", "spread"):
        own = spread(SPEC, lengths, broken, number, where)
        assert sum(map(len, own)) == min(number, sum(map(len, whole)))
        assert all(np.isin(some, all_).all() for some, all_ in zip(own, whole, strict=True))
        assert all((np.diff(some) > 0).all() for some in own)


def test_every_k_is_scored_on_the_same_frames(found):
    finite = [
        [np.isfinite(v).tolist() for v in scored.scores["paper_raw"]]
        for scored in found.scored.values()
    ]
    assert finite[0] == finite[1] == finite[2]
    # Step 4: three windows of support are frames 0 to 12, the first other window begins at 16.
    assert np.flatnonzero(finite[0][0])[0] == 20


def test_intervals_are_over_scenes_unless_all_videos_show_one(detector, test_videos):
    videos, labels = test_videos
    by_two = {video.name: str(i // 2) for i, video in enumerate(videos)}
    own = kshot.few_shot(detector, videos, labels, [0, 1], scenes=by_two)
    assert own.scenes == tuple(by_two[name] for name in own.scored[0].names)
    assert f"intervals over {len(set(own.scenes))} scenes" in kshot.table({"a": own})
    of_one = kshot.few_shot(detector, videos, labels, [0, 1], scenes=dict.fromkeys(by_two, "0"))
    assert of_one.scenes is None
    assert "intervals over videos" in kshot.table({"a": of_one})


def test_no_shot_is_the_run_itself_on_those_frames(detector, test_videos, found):
    whole = detector.score(list(test_videos[0][0].stream()))
    few = found.scored[0].scores["online_raw"][0]
    given_ = np.isfinite(few)
    np.testing.assert_array_equal(few[given_], whole.score[given_])


def test_shots_change_scores_and_each_video_begins_anew(detector, test_videos, found):
    videos, labels = test_videos
    alone = kshot.few_shot(detector, videos[2:3], labels, [0, 1, 3], steps=2)
    for number in (1, 3):
        own = found.scored[number].scores["online_raw"]
        base = found.scored[0].scores["online_raw"]
        assert not np.array_equal(own[2], base[2], equal_nan=True)
        expected = alone.scored[number].scores["online_raw"][0]
        np.testing.assert_allclose(own[2], expected, rtol=1e-4, atol=1e-4)
    assert found.losses[3].shape == (len(videos), 2)
    assert (found.losses[3][:, 1] < found.losses[3][:, 0]).all()


def test_many_supports_at_once_are_each_alone(detector, test_videos):
    videos = test_videos[0]
    spec = detector.method.inputs
    batches = [shots.support_batch(spec, v, np.array([0, 4])) for v in videos[:3]]
    together = list(shots.adapted(detector.method, detector.variables, batches, steps=1))
    for batch, (moved, losses) in zip(batches, together, strict=True):
        ((alone, alone_losses),) = shots.adapted(
            detector.method, detector.variables, [batch], steps=1
        )
        np.testing.assert_allclose(losses, alone_losses, rtol=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), moved, alone
        )


@pytest.mark.parametrize("backend", ["cpu", "tpu"])  # one by one, or side by side in one program
def test_steps_are_those_of_the_method(detector, test_videos, monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    videos, spec = test_videos[0], detector.method.inputs
    batches = [shots.support_batch(spec, v, np.array([0, 4])) for v in videos[:2]]
    whole = jax.jit(functools.partial(detector.method.adapt, steps=3))
    found = list(shots.adapted(detector.method, detector.variables, batches, steps=3))
    for batch, (moved, losses) in zip(batches, found, strict=True):
        expected, expected_losses = whole(detector.variables, batch)
        assert losses.shape == (3,)
        np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), moved, expected
        )


def test_one_strange_window_disagrees_with_its_fellows(detector, test_videos):
    video = test_videos[0][0]
    batch = shots.support_batch(detector.method.inputs, video, np.arange(5) * 4)
    method, variables = detector.method, detector.variables
    calm = shots.disagreement(method, variables, batch, steps=1)
    assert calm.shape == (5,)
    assert calm.max() < shots.OUTLIER
    batch["frames"][3] = np.random.default_rng(0).integers(0, 256, batch["frames"][3].shape)
    strange = shots.disagreement(method, variables, batch, steps=1)
    assert strange.argmax() == 3
    assert strange.max() > shots.OUTLIER
    two = {name: value[:2] for name, value in batch.items()}
    assert shots.disagreement(method, variables, two, steps=1) is None


def test_figures_and_differences_are_those_of_the_evaluation(found):
    rows = kshot.figures(found, replicates=50)
    assert list(rows) == ["0", "1", "3"]
    scored = found.scored[3]
    expected = evaluation.auc_micro(scored.labels, scored.scores["paper_raw"])
    assert rows["3"]["paper"]["auc_micro"]["value"] == pytest.approx(expected, abs=1e-12)
    gap = rows["3"]["paper"]["auc_micro_difference"]
    base = rows["0"]["paper"]["auc_micro"]["value"]
    assert gap["value"] == pytest.approx(expected - base, abs=1e-12)
    assert gap["low"] <= gap["value"] <= gap["high"]
    assert "auc_micro_difference" not in rows["0"]["paper"]


def test_a_run_without_step_sizes_is_fine_tuned_at_a_rate(detector, test_videos):
    plain = shots.with_rate(detector, 1e-2)
    assert "step_size" not in plain.variables["state"]
    slower = shots.with_rate(detector, 1e-4)
    batch = shots.support_batch(detector.method.inputs, test_videos[0][0], np.array([0, 4]))
    lasts = [
        next(shots.adapted(d.method, d.variables, [batch], steps=5))[1][-1] for d in (plain, slower)
    ]
    assert lasts[0] < lasts[1]


def test_too_many_shots_name_the_videos(detector, test_videos):
    with pytest.raises(DataError, match=r"01: 29 windows to adapt on.*Ask for fewer"):
        kshot.few_shot(detector, *test_videos, [0, 500])


def test_evaluate_shots_writes_scores_and_figures(meta_run, capsys):
    workdir = meta_run[0]
    results = evaluate_shots([workdir], [0, 2], support="normal")
    kept = json.loads((workdir / "shots_normal.json").read_text())
    assert (
        kept["shots"]["2"]["online"]["auc_micro"]
        == results["meta"]["shots"]["2"]["online"]["auc_micro"]
    )
    scored = evaluation.read_scores(workdir / "shots_normal_2.npz")
    expected = evaluation.auc_micro(scored.labels, scored.scores["online_raw"])
    assert kept["shots"]["2"]["online"]["auc_micro"]["value"] == pytest.approx(expected)
    assert "minus 0 shots" in capsys.readouterr().out
    before = (workdir / "shots_normal.json").read_bytes()
    evaluate_shots([workdir], [0, 1], support="normal", data="folder")
    assert (workdir / "shots_normal.json").read_bytes() == before
    assert (workdir / "shots_folder_normal_1.npz").exists()
    for wrong in ([], [0], [1, 1], [-1, 2]):
        with pytest.raises(ConfigError, match="--shots"):
            evaluate_shots([workdir], wrong)

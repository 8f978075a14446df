"""Windows to frames, and parts to one number, by hand and by the golden case."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vad_jax.evaluation import assign, auc_micro, fuse, minmax, results, smooth
from vad_jax.types import ConfigError, DataError, Fusion, InputSpec

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "data" / "evaluation_golden.json").read_text(encoding="utf-8")
)
CASE = next(case for case in GOLDEN["cases"] if case["kind"] == "fusion")
NAN = np.nan
WEIGHTS = ("combine", "fused", {"psnr": 0.6, "distance": 0.4})
ALONE = ("combine", "psnr_only", {"psnr": 1.0})
MNAD = Fusion(
    assign="mean",
    paper=(("negate", "psnr"), ("minmax", "video"), WEIGHTS, ALONE),
    online=(("negate", "psnr"), ("standardise",), WEIGHTS, ALONE),
    default="fused",
)
NORMAL = {"psnr": {"mean": 30.0, "std": 2.0}, "distance": {"mean": 0.1, "std": 0.05}}


def spec(frames, scored, **options):
    return InputSpec(
        frames=frames,
        sees=tuple(range(frames)),
        target=None,
        scored=scored,
        height=8,
        width=8,
        channels=1,
        colour="grey",
        **options,
    )


def one(*operations, default="a"):
    return Fusion(assign="mean", paper=operations, online=operations, default=default)


class TestAssign:
    def test_prediction_scores_the_target_of_each_window(self):
        found = assign([0, 1, 2], [[5.0], [6.0], [7.0]], spec=spec(5, (4,)), length=7, how="mean")
        np.testing.assert_array_equal(found, [NAN, NAN, NAN, NAN, 5, 6, 7])

    def test_mean_of_the_windows_that_share_a_frame_steps_over_nan(self):
        part = [[1.0, 2.0, 3.0], [4.0, NAN, 6.0]]
        found = assign([0, 1], part, spec=spec(3, (0, 1, 2)), length=5, how="mean")
        np.testing.assert_array_equal(found, [1, 3, 3, 6, NAN])

    def test_stride_spreads_a_window(self):
        found = assign([1], [[1.0, 2.0]], spec=spec(3, (0, 2), stride=3), length=8, how="mean")
        np.testing.assert_array_equal(found, [NAN, 1, NAN, NAN, NAN, NAN, NAN, 2])

    def test_ninth_frame_takes_the_mean_of_its_window(self):
        part = np.arange(32.0).reshape(2, 16)
        found = assign([0, 1], part, spec=spec(16, tuple(range(16))), length=17, how="ninth")
        np.testing.assert_array_equal(found, [NAN] * 8 + [7.5, 23.5] + [NAN] * 7)

    def test_newest_lets_the_first_window_speak_for_all_its_frames(self):
        part = [[1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]]
        found = assign([0, 2], part, spec=spec(4, (0, 1, 2, 3), step=2), length=6, how="newest")
        np.testing.assert_array_equal(found, [1, 2, 3, 4, 13, 14])

    def test_newest_keeps_what_an_aligned_last_window_would_overwrite(self):
        part = [[1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0], [21.0, 22.0, 23.0, 24.0]]
        windows = spec(4, (0, 1, 2, 3), step=2, tail="align")
        found = assign([0, 2, 3], part, spec=windows, length=7, how="newest")
        np.testing.assert_array_equal(found, [1, 2, 3, 4, 13, 14, 24])

    def test_order_of_windows_does_not_matter(self):
        random = np.random.default_rng(0)
        first, part = np.arange(0, 20, 2), random.normal(size=(10, 4))
        for how in ("mean", "newest"):
            given_order, reversed_order = (
                assign(f, p, spec=spec(4, (0, 1, 2, 3), step=2), length=22, how=how)
                for f, p in ((first, part), (first[::-1], part[::-1]))
            )
            np.testing.assert_allclose(reversed_order, given_order, rtol=1e-15)

    def test_window_beyond_its_video_is_refused(self):
        with pytest.raises(DataError, match="frame 9 of a video of 9 frames"):
            assign([5], [[1.0]], spec=spec(5, (4,)), length=9, how="mean")

    def test_values_of_another_shape_are_refused(self):
        with pytest.raises(DataError, match=r"2 windows that score 1 .* not \(2, 3\)"):
            assign([0, 1], np.zeros((2, 3)), spec=spec(5, (4,)), length=9, how="mean")

    def test_short_window_has_no_ninth_frame(self):
        with pytest.raises(ConfigError, match="5 frames has no ninth"):
            assign([0], [[1.0]], spec=spec(5, (4,)), length=9, how="ninth")


class TestMnad:
    def test_golden_case(self):
        parts = {
            "psnr": np.array(CASE["input"]["psnr"]),
            "distance": np.array(CASE["input"]["feature_distance"]),
        }
        found = fuse(MNAD, parts, None, "paper")
        np.testing.assert_allclose(
            found, CASE["expected"]["score"], rtol=0, atol=GOLDEN["tolerance"]
        )

    def test_online_turns_the_statistics_with_the_part(self):
        found = fuse(
            MNAD, {"psnr": np.array([26.0]), "distance": np.array([0.2])}, NORMAL, "online"
        )
        np.testing.assert_allclose(found, [0.6 * 2 + 0.4 * 2])  # both two deviations stranger

    def test_results_are_named_and_chosen(self):
        parts = {"psnr": np.array([30.0, 20.0]), "distance": np.array([1.0, 0.0])}
        assert results(MNAD, "paper") == ("fused", "psnr_only")
        np.testing.assert_array_equal(fuse(MNAD, parts, None, "paper", result="psnr_only"), [0, 1])

    def test_weights_go_to_the_parts_that_exist(self):
        alone = fuse(MNAD, {"distance": np.array([1.0, 3.0])}, None, "paper")
        np.testing.assert_array_equal(alone, [0, 1])

    def test_result_without_any_of_its_parts_is_named(self):
        with pytest.raises(ConfigError, match="makes no 'psnr_only' of the parts distance"):
            fuse(MNAD, {"distance": np.array([1.0])}, None, "paper", result="psnr_only")

    def test_missing_statistics_name_the_part(self):
        with pytest.raises(ConfigError, match="no statistics of normal clips for the part 'psnr'"):
            fuse(MNAD, {"psnr": np.array([1.0])}, {"distance": NORMAL["distance"]}, "online")


class TestFuse:
    def test_structure_comes_back_as_it_went_in(self):
        video = np.array([3.0, 1.0])
        assert isinstance(fuse(one(), {"a": video}, None, "paper"), np.ndarray)
        videos = fuse(one(), {"a": [video, video]}, None, "paper")
        assert isinstance(videos, list)
        assert [v.dtype for v in videos] == [np.float64] * 2

    def test_constant_part_is_not_strange_whatever_its_direction(self):
        turned = one(("negate", "a"), ("minmax", "video"))
        np.testing.assert_array_equal(fuse(turned, {"a": np.full(3, 7.0)}, None, "paper"), [0] * 3)

    def test_minmax_over_the_set_keeps_the_videos_apart(self):
        parts = {"a": [np.array([0.0, 1.0]), np.array([2.0, NAN, 4.0])]}
        by_set = fuse(one(("minmax", "set")), parts, None, "paper")
        np.testing.assert_array_equal(np.concatenate(by_set), [0, 0.25, 0.5, NAN, 1])
        by_video = fuse(one(("minmax", "video")), parts, None, "paper")
        np.testing.assert_array_equal(np.concatenate(by_video), [0, 1, 0, NAN, 1])

    def test_max_and_squared_difference(self):
        parts = {"a": np.array([1.0, 5.0, NAN]), "b": np.array([4.0, 2.0, 1.0])}
        for how, right in (("max", [4, 5, NAN]), ("squared_difference", [9, 9, NAN])):
            found = fuse(one(("combine", "c", how, "a", "b"), default="c"), parts, None, "paper")
            np.testing.assert_array_equal(found, right)

    def test_floor_holds_where_there_is_nothing(self):
        found = fuse(one(("floor", 0.5)), {"a": np.array([NAN, 0.1, 0.9])}, None, "online")
        np.testing.assert_array_equal(found, [0.5, 0.5, 0.9])

    def test_smooth_is_left_out_on_request(self):
        smoothing = one(("smooth", (0.5, 0.5), "zero", True))
        video = {"a": np.array([2.0, 4.0])}
        np.testing.assert_array_equal(fuse(smoothing, video, None, "online"), [1, 3])
        raw = fuse(smoothing, video, None, "online", smoothed=False)
        np.testing.assert_array_equal(raw, [2, 4])

    def test_parts_that_nothing_combines_need_no_statistics(self):
        parts = {"psnr": np.array([30.0]), "distance": np.array([0.1]), "other": np.array([1.0])}
        np.testing.assert_array_equal(fuse(MNAD, parts, NORMAL, "online"), [0])

    @pytest.mark.parametrize(
        ("operation", "said"),
        [
            (("median", 17), "operation 'median'"),
            (("negate", "psmr"), "negates 'psmr', which is no part"),
            (("minmax", "frame"), "not 'frame'"),
            (("combine", "c", "min", "a"), "'c' is combined by 'min'"),
            (("combine", "c", {"a": 0.0}), "weights of 'c' over a add up to 0"),
            (("smooth", (1.0,), "wrap", False), "edges 'wrap'"),
            (("smooth", (1.0,), "reflect", True), "edges 'reflect'"),
        ],
    )
    def test_what_does_not_exist_is_named(self, operation, said):
        with pytest.raises(ConfigError, match=said):
            fuse(one(operation), {"a": np.array([1.0, 2.0])}, None, "paper")

    @pytest.mark.parametrize("protocol", ["Paper", "live"])
    def test_unknown_protocol_is_named(self, protocol):
        with pytest.raises(ConfigError, match=protocol):
            fuse(one(), {"a": np.array([1.0])}, None, protocol)

    @pytest.mark.parametrize("deviation", [float("inf"), NAN])
    def test_deviation_that_is_no_scale_is_refused(self, deviation):
        statistics = {"a": {"mean": 1.0, "std": deviation}}
        with pytest.raises(ConfigError, match=r"'a' has mean 1\.0 and deviation"):
            fuse(one(("standardise",)), {"a": np.array([1.0])}, statistics, "online")

    def test_part_without_spread_on_normal_clips_says_nothing(self):
        statistics = {"a": {"mean": 1.0, "std": 0.0}}
        found = fuse(one(("standardise",)), {"a": np.array([1.0, 2.0, NAN])}, statistics, "online")
        np.testing.assert_array_equal(found, [0, 0, NAN])


class TestSmooth:
    def test_published_edges_repeat_the_nearest_computed_value(self):
        values = np.array([0.0, 3.0, 6.0, 0.0, 3.0])
        found = smooth(values, [1 / 3] * 3, edges="nearest", causal=False)
        np.testing.assert_allclose(found, [3, 3, 3, 3, 3])

    @pytest.mark.parametrize(("edges", "mode"), [("reflect", "reflect"), ("zero", "constant")])
    def test_scipy_agrees(self, edges, mode):
        import scipy.ndimage

        values, kernel = np.random.default_rng(1).normal(size=20), [0.1, 0.2, 0.4, 0.2, 0.1]
        np.testing.assert_allclose(
            smooth(values, kernel, edges=edges, causal=False),
            scipy.ndimage.correlate1d(values, kernel, mode=mode),
            atol=1e-15,
        )

    @given(st.integers(1, 30), st.sampled_from(["nearest", "zero"]))
    def test_causal_smoothing_never_looks_ahead(self, seen, edges):
        values = np.random.default_rng(2).normal(size=30)
        whole = smooth(values, [0.2, 0.3, 0.5], edges=edges, causal=True)
        stream = smooth(values[:seen], [0.2, 0.3, 0.5], edges=edges, causal=True)
        np.testing.assert_allclose(stream, whole[:seen], atol=1e-15)

    def test_newest_frame_takes_the_last_tap(self):
        found = smooth(np.array([0.0, 0.0, 1.0]), [0.2, 0.8], edges="zero", causal=True)
        np.testing.assert_allclose(found, [0, 0, 0.8])

    def test_short_video_is_left_as_it_is(self):
        values = np.array([1.0, NAN, 5.0])
        np.testing.assert_array_equal(
            smooth(values, [1 / 3] * 3, edges="nearest", causal=False), values
        )

    def test_frames_without_a_score_are_stepped_over(self):
        values = np.array([NAN, NAN, 0.0, 3.0, 6.0, 9.0])
        found = smooth(values, [1 / 3] * 3, edges="nearest", causal=False)
        np.testing.assert_allclose(found, [NAN, NAN, 3, 3, 6, 6])


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20, unique=True))
def test_minmax_of_one_video_leaves_its_auc(values):
    scores = np.round(np.array(values), 3)
    labels = np.arange(len(scores)) % 2
    assert auc_micro([labels], [minmax(scores)]) == pytest.approx(auc_micro([labels], [scores]))


def test_result_may_be_turned_too():
    fusion = one(("combine", "normality", {"a": 1.0}), ("negate", "normality"), default="normality")
    np.testing.assert_array_equal(
        fuse(fusion, {"a": np.array([1.0, 2.0])}, None, "paper"), [-1, -2]
    )

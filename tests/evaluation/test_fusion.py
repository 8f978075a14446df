"""Parts to one number a frame, by hand and by the golden case."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vad_jax.evaluation import (
    auc_micro,
    check,
    frame_parts,
    fuse,
    mentioned,
    minmax,
    results,
    smooth,
)
from vad_jax.types import ConfigError, Fusion, VideoScores

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "data" / "evaluation_golden.json").read_text(encoding="utf-8")
)
CASE = next(case for case in GOLDEN["cases"] if case["kind"] == "fusion")
NAN = np.nan
ASSIGN = ("assign", "mean")
WEIGHTS = ("combine", "fused", {"psnr": 0.6, "distance": 0.4})
ALONE = ("combine", "psnr_only", {"psnr": 1.0})
MNAD = Fusion(
    paper=(ASSIGN, ("negate", "psnr"), ("minmax", "video"), WEIGHTS, ALONE),
    online=(ASSIGN, ("negate", "psnr"), ("standardise",), WEIGHTS, ALONE),
    default="fused",
)
NORMAL = {"psnr": {"mean": 30.0, "std": 2.0}, "distance": {"mean": 0.1, "std": 0.05}}


def one(*operations, online=None, default="a"):
    """A fusion of the same operations in both lists, or of others `online`."""
    online = operations if online is None else online
    return Fusion(paper=operations, online=online, default=default)


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
            (("minmax", "frame"), "'minmax' with 'frame'"),
            (("combine", "c", "min", "a"), "'combine' with 'c', 'min', 'a'"),
            (("combine", "c", {"a": 0.0}), "weights of 'c' over a add up to 0"),
            (("combine", "c", {"a": NAN}), "'combine' with 'c', {'a': nan}"),
            (("combine", "c", "squared_difference", "a"), "'squared_difference', 'a'; it is"),
            (("smooth", (1.0,), "wrap", False), "'smooth' with .* 'wrap', False"),
            (("smooth", (1.0,), "reflect", True), "'smooth' with .* 'reflect', True"),
            (("smooth", (), "zero", True), "'smooth' with "),
            (("assign", "oldest"), "'assign' with 'oldest'; it is .*newest"),
            (("reduce", "mean"), "'reduce' with 'mean'"),
            (("filter", (5, 5, 5)), "'filter' that does not follow"),
            (("floor",), "'floor' with nothing"),
        ],
    )
    def test_what_does_not_exist_is_named(self, operation, said):
        with pytest.raises(ConfigError, match=said):
            fuse(one(operation), {"a": np.array([1.0, 2.0])}, None, "paper")

    def test_minmax_over_the_set_is_refused_for_one_video(self):
        fusion = one(ASSIGN, ("minmax", "set"))
        rows = VideoScores("a", 2, np.arange(2), np.arange(2)[:, None], {"a": np.ones((2, 1))})
        for alone in ({"a": np.array([1.0, 2.0])}, rows):
            with pytest.raises(ConfigError, match="over the set needs all its videos"):
                fuse(fusion, alone, None, "paper")

    def test_labels_are_scored_each_by_itself(self):
        random = np.random.default_rng(0)
        part = random.normal(size=(12, 3))
        part[4] = NAN
        fusion = one(
            ("minmax", "video"), ("combine", "c", {"a": 1.0, "b": 3.0}), ("floor", 0.2),
            ("smooth", (0.5, 0.5), "nearest", True), default="c",
        )  # fmt: skip
        found = fuse(fusion, {"a": part, "b": part**2}, None, "paper")
        for label in range(3):
            alone = {"a": part[:, label], "b": part[:, label] ** 2}
            np.testing.assert_array_equal(found[:, label], fuse(fusion, alone, None, "paper"))

    def test_parts_of_other_numbers_of_labels_do_not_combine(self):
        parts = {"a": np.zeros((4, 2)), "b": np.zeros(4)}
        fusion = one(("combine", "c", "max", "a", "b"), default="c")
        with pytest.raises(ConfigError, match=r"a \(4, 2\), b \(4,\)"):
            fuse(fusion, parts, None, "paper")

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


class TestCheck:
    def test_fusions_of_windows_and_of_objects_pass(self):
        check(MNAD)
        check(one(("standardise",), ("reduce", "max"), ("floor", 0.0)))

    @pytest.mark.parametrize(
        ("paper", "online", "said"),
        [
            ([("negate", "a"), ASSIGN], [ASSIGN], "'assign' behind 'negate'"),
            ([ASSIGN], [("assign", "newest")], "'mean' in its list `paper` and 'newest'"),
            ([ASSIGN], [("reduce", "max")], "'mean' in its list `paper` and None"),
            ([("negate", "a")], [("negate", "a")], "rows have to become frames"),
            ([ASSIGN, ("reduce", "max")], [ASSIGN], "where rows are frames already"),
            ([ASSIGN, ("filter", (1, 3, 3))], [ASSIGN], "does not follow"),
            ([("smooth", (1.0,), "zero", True), ("reduce", "max")], [], "before `reduce`"),
            ([ASSIGN], [ASSIGN, ("minmax", "video")], "online list has .* the whole video"),
            ([ASSIGN], [ASSIGN, ("smooth", (1.0,), "zero", False)], "centred kernel looks ahead"),
            (
                [("reduce", "max")],
                [("reduce", "map"), ("filter", (3, 1, 1))],
                "several frames looks ahead",
            ),
            ([ASSIGN, ("median", 17)], [ASSIGN], "paper list has the operation 'median'"),
            ([ASSIGN], [ASSIGN, ("median", 17)], "online list has the operation 'median'"),
        ],
    )
    def test_what_cannot_be_is_named(self, paper, online, said):
        with pytest.raises(ConfigError, match=said):
            check(one(*paper, online=tuple(online)))


class TestRows:
    """Rows give what their frames give."""

    def rows(self, name="01", length=9, **parts):
        count = len(next(iter(parts.values())))
        first = np.arange(count)
        parts = {part: np.asarray(values, float)[:, None] for part, values in parts.items()}
        return VideoScores(name, length, first, first[:, None] + 4, parts)

    def test_golden_case(self):
        scores = CASE["input"]
        rows = self.rows(
            length=len(scores["psnr"]) + 4,
            psnr=scores["psnr"],
            distance=scores["feature_distance"],
        )
        found = fuse(MNAD, rows, None, "paper")
        np.testing.assert_array_equal(found[:4], [NAN] * 4)
        right = CASE["expected"]["score"]
        np.testing.assert_allclose(found[4:], right, rtol=0, atol=GOLDEN["tolerance"])

    @pytest.mark.parametrize("protocol", ["paper", "online"])
    def test_rows_are_their_frames(self, protocol):
        videos = [self.rows(psnr=[30, 20, 25], distance=[0.1, 0.4, 0.2]), self.rows(psnr=[1.0] * 5)]
        found = fuse(MNAD, videos, NORMAL, protocol)
        again = fuse(MNAD, frame_parts(MNAD, videos), NORMAL, protocol)
        for one_way, other in zip(found, again, strict=True):
            np.testing.assert_array_equal(one_way, other)

    def test_a_video_that_lacks_a_part_or_all_rows_has_none(self):
        empty = VideoScores("03", 4, np.zeros(0, int), np.zeros((0, 1), int), {})
        videos = [self.rows(psnr=[3.0, 2.0]), self.rows(distance=[1.0], length=5), empty]
        parts = frame_parts(MNAD, videos)
        assert list(parts) == ["distance", "psnr"]
        assert [len(video) for video in parts["psnr"]] == [9, 5, 4]
        assert np.isnan(parts["psnr"][1]).all()
        scores = fuse(MNAD, videos, NORMAL, "paper")
        assert [int(np.isfinite(video).sum()) for video in scores] == [0, 0, 0]
        assert np.isnan(fuse(MNAD, empty, None, "online")).all()

    def test_nothing_scored_is_the_floor(self):
        empty = VideoScores("03", 3, np.zeros(0, int), np.zeros((0, 1), int), {})
        fusion = one(("standardise",), ("reduce", "max"), ("floor", -1.5))
        np.testing.assert_array_equal(fuse(fusion, empty, None, "online"), [-1.5] * 3)

    def test_windows_that_nothing_assigns_are_refused(self):
        with pytest.raises(ConfigError, match="rows have to become frames"):
            fuse(one(("negate", "a")), self.rows(a=[1.0]), None, "paper")


def test_parts_that_results_use_are_mentioned():
    assert mentioned(MNAD, "paper") == {"psnr", "distance"}

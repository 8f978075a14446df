"""What an evaluation leaves behind: documented keys, plain arrays, a page that asks for nothing."""

import json
import re

import numpy as np

METRICS = {
    "auc_micro", "auc_macro", "auc_macro_padded", "auc_macro_padded01", "ap", "eer",
    "pixel_auc_40", "pixel_auc", "rbdc", "tbdc",
}  # fmt: skip
TEST_VIDEOS = 6
TEST_FRAMES = 720


def figures(metrics):
    for protocol in ("paper", "online"):
        for variant in ("raw", "smoothed"):
            yield metrics["protocols"][protocol][variant]


def leaves(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def test_metrics_have_the_documented_keys_and_plain_values(finished_run):
    metrics = json.loads((finished_run[0] / "metrics.json").read_text())
    assert metrics == finished_run[1]
    documented = {"version", "protocols", "per_video", "controls", "beats_controls", "events"}
    assert documented | {"calibration", "data", "run", "recognition"} <= metrics.keys()
    for table in figures(metrics):
        assert set(table) == METRICS
        for name, figure in table.items():
            if figure["value"] is None:
                assert figure["why"], name
            else:
                assert {"low", "high", "level", "replicates", "dropped"} <= figure.keys(), name
                assert isinstance(figure["value"], float), name
                assert 0 <= figure["low"] <= figure["high"] <= 1, name
    assert len(metrics["per_video"]) == TEST_VIDEOS
    assert metrics["data"]["frames"] == TEST_FRAMES
    assert metrics["data"]["scored"] == TEST_VIDEOS * 29  # windows of 5 at step 4 in 120 frames
    assert metrics["run"]["checkpoint"]["chosen"] == "last"
    assert not any(isinstance(v, float) and not np.isfinite(v) for v in leaves(metrics))


def test_scores_have_the_documented_arrays_over_all_frames(finished_run):
    with np.load(finished_run[0] / "scores.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    parts = {f"part_{name}" for name in ("psnr", "distance", "point_score", "updated")}
    scores = {f"score_{p}_{v}" for p in ("paper", "online") for v in ("raw", "smoothed")}
    results = {
        f"fused_{name}_{score.removeprefix('score_')}"
        for name in ("psnr_only", "distance_only")
        for score in scores
    }
    signs = {f"{part}_sign" for part in parts}
    others = {"video_names", "offsets", "frame", "label", "meta"}
    boxes = {f"det_{name}" for name in ("video", "frame", "box", "score")}
    assert set(arrays) == others | scores | parts | signs | results | boxes
    assert arrays["video_names"].dtype.kind == "U"
    kinds = {"offsets": np.int64, "frame": np.int32, "label": np.int8}
    kinds |= dict.fromkeys(scores | parts | results, np.float64)
    for name, kind in kinds.items():
        assert arrays[name].dtype == kind, name
        assert arrays[name].shape == ((TEST_VIDEOS + 1) if name == "offsets" else TEST_FRAMES,)
    np.testing.assert_array_equal(arrays["offsets"], np.arange(0, TEST_FRAMES + 1, 120))
    np.testing.assert_array_equal(arrays["frame"], np.tile(np.arange(120), TEST_VIDEOS))
    reached = (arrays["frame"] % 4 == 0) & (arrays["frame"] >= 4)
    for name in scores | parts | results:
        np.testing.assert_array_equal(np.isfinite(arrays[name]), reached, err_msg=name)
    assert int(arrays["part_psnr_sign"]) == -1  # dB fall when strange
    meta = json.loads(str(arrays["meta"]))
    needed = {"method", "config_hash", "checkpoint_step", "data_hash", "label_source", "label_hash"}
    assert needed | {"fps", "seed"} <= meta.keys()


def test_the_report_asks_for_nothing_outside(finished_run):
    page = (finished_run[0] / "report.html").read_text()
    asked = re.findall(r"(?:src|href|action|data-src)\s*=\s*[\"']?([^\"'\s>]+)", page)
    asked += re.findall(r"url\(\s*[\"']?([^\"')]+)", page) + re.findall(r"@import\s+(\S+)", page)
    assert all(target.startswith(("#", "data:")) for target in asked)
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)  # names of XML dialects are no links
    assert "fetch(" not in page
    assert "XMLHttpRequest" not in page

"""The report: one page, no request, names that stay text."""

import base64
import dataclasses
import hashlib
import html.parser
import json
import re

import cv2
import numpy as np
import pytest

from vad_jax.evaluation import (
    Normal,
    controls,
    published_auc,
    read_metrics,
    read_scores,
    render,
    summarise,
    write_controls,
    write_metrics,
    write_scores,
)
from vad_jax.evaluation.report.alarms import regions, segments
from vad_jax.evaluation.report.timeline import line, runs, shades
from vad_jax.types import DataError

EVIL = "<script>alert(1)</script>"
REGIONS = {
    "regions": 1234, "tracks": 9, "regions_found": 1111, "tracks_found": 8, "false_per_frame": 2.0,
    "curve": [[0, 0, 0], [0.5, 0.4, 0.6], [2.0, 0.9, 8 / 9]], "source": "tracks derived from masks",
}  # fmt: skip
ADDRESSES = ("src", "href", "srcset", "action", "data", "poster", "xlink:href", "style")


class Page(html.parser.HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def workdir(scored, frames, tmp_path):
    scored = dataclasses.replace(
        scored,
        names=("01", EVIL, "03\u2028", '"><img src=x onerror=y>'),
        meta={"method": EVIL, "fps": 10.0, "data": "ucsd_ped2"},
    )
    write_scores(tmp_path / "scores.npz", scored)
    run = {"device": EVIL, "config": {"input": {"height": 64}}}
    normal = Normal([0.4 * np.random.default_rng(0).normal(size=1200)], "training")
    figures = summarise(scored, frames, normal=normal, run=run, replicates=50, recomputed=10)
    figures["regions"] = REGIONS
    write_metrics(tmp_path / "metrics.json", figures)
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), frames[0][0])
    entry = {"file": "a.png", "video": EVIL, "frame": 3, "score": 0.7, "label": 1}
    entries = [entry | {"kind": kind, "caption": EVIL} for kind in ("hit", "false_alarm")]
    (tmp_path / "pictures" / "index.json").write_text(json.dumps(entries))
    kept = [{"video": 1, "frame": frame, "file": "a.png", "boxes": frame - 3} for frame in (4, 9)]
    about = {"most": 240, "step": 7, "height": 150, "high": 0.5, "frames": kept}
    (tmp_path / "pictures" / "timeline.json").write_text(json.dumps(about))
    return tmp_path


@pytest.fixture
def page(workdir):
    return Page(render(workdir).read_text(encoding="utf-8"))


def test_names_are_text_and_never_markup(page):
    assert {"iframe", "object", "embed", "link"}.isdisjoint(tag for tag, _ in page.tags)
    scripts = [attributes.get("type") for tag, attributes in page.tags if tag == "script"]
    assert scripts == ["application/json", None]
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    assert EVIL in page.text


def test_page_asks_nothing_of_the_network(page, workdir):
    text = (workdir / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]*", "", text))
    addresses = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ADDRESSES and name != "style"
    ]
    assert addresses
    assert all(value.startswith("data:image/png;base64,") for value in addresses)
    policy = [a["content"] for _, a in page.tags if a.get("http-equiv")]
    assert "default-src 'none'" in policy[0]


def test_only_the_script_of_the_page_may_run(workdir):
    text = render(workdir).read_text(encoding="utf-8")
    script = re.search(r"<script>(.*?)</script>", text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "innerHTML" not in script
    assert "unsafe-inline'; script-src" in text  # of styles alone


def test_kept_frames_go_into_the_page_as_escaped_json(workdir):
    text = render(workdir).read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="frames">(.*?)</script>', text, re.S)[1]
    assert not set("<>&\u2028\u2029") & set(data)
    videos = json.loads(data)
    assert [video["name"] for video in videos] == [
        "01",
        EVIL,
        "03\u2028",
        '"><img src=x onerror=y>',
    ]
    assert [kept["frame"] for kept in videos[1]["frames"]] == [4, 9]
    about = videos[1]["frames"][0]["about"]
    assert re.fullmatch(r"normal, paper -?[\d.]+, online -?[\d.]+, 1 box", about)
    assert videos[1]["frames"][0]["picture"].startswith("data:image/png;base64,")
    assert "Kept are 2 of 124 scored frames" in " ".join(text.split())


def test_without_kept_frames_no_script_runs_and_it_is_said(workdir):
    (workdir / "pictures" / "timeline.json").unlink()
    text = render(workdir).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "script-src 'none'" in text
    assert "a click shows none" in text


@pytest.mark.parametrize(
    "change", [{"video": 9}, {"frame": 99}, {"file": 3}, {"frame": "x"}], ids=str
)
def test_kept_frames_that_do_not_fit_are_named(workdir, change):
    index = workdir / "pictures" / "timeline.json"
    about = json.loads(index.read_text())
    about["frames"][0] |= change
    index.write_text(json.dumps(about))
    with pytest.raises(DataError, match=r"timeline\.json does not fit scores\.npz"):
        render(workdir)


def test_every_video_has_its_timeline(page):
    paths = [attributes for tag, attributes in page.tags if tag == "path"]
    assert [path["class"] for path in paths[-12:]] == ["threshold", "online", "paper"] * 4
    assert all(re.fullmatch(r"(M[\d.,L]+)+", path["d"]) for path in paths)
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "i"]
    assert classes.count("hatch") == 4 + 1  # the first frames of each video, and the key
    assert classes.count("truth") == 4 + 2  # in two keys


def test_alarms_are_drawn_where_the_score_is_above_the_threshold(workdir):
    figures = read_metrics(workdir / "metrics.json")
    scored = read_scores(workdir / "scores.npz")
    held = segments(scored, figures)
    for video, values in zip(held, scored.scores["online_raw"], strict=True):
        above = values > figures["calibration"]["threshold"]
        assert (video[above]).all()
        ends = np.flatnonzero(np.diff(np.concatenate([[0], video.astype(int), [0]])))
        assert all(above[start] and above[end - 1] for start, end in ends.reshape(-1, 2))
    page = Page((render(workdir)).read_text(encoding="utf-8"))
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "i"]
    assert classes.count("alarm") == sum(len(runs(video)) for video in held) > 0


def test_published_figures_are_ticks_of_the_paper_protocol_alone(workdir):
    page = Page(render(workdir).read_text(encoding="utf-8"))
    ticks = [a for tag, a in page.tags if tag == "i" and a.get("class") == "published"]
    assert [tick["title"] for tick in ticks][:2] == ["HF2-VAD 2021 99.3", "AI-VAD 2022 99.1"]
    assert len(ticks) == len(published_auc("ucsd_ped2"))  # one bar of the paper protocol
    assert all(0 <= float(re.search(r"left:([\d.]+)%", tick["style"])[1]) <= 100 for tick in ticks)
    assert published_auc("folder") == published_auc(None) == []


def test_avenues_two_label_sets_are_said_beside_what_is_published(workdir):
    assert "two label sets" not in render(workdir).read_text(encoding="utf-8")
    figures = read_metrics(workdir / "metrics.json")
    figures["data"]["set"] = "avenue"
    write_metrics(workdir / "metrics.json", figures)
    assert "two label sets" in render(workdir).read_text(encoding="utf-8")


def test_page_takes_the_place_of_a_link(workdir, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "kept.txt"
    other.write_text("kept")
    (workdir / "report.html").symlink_to(other)
    render(workdir)
    assert other.read_text() == "kept"
    assert not (workdir / "report.html").is_symlink()


def test_curve_of_regions_is_cut_at_one_false_box_a_frame(workdir):
    found = regions(read_metrics(workdir / "metrics.json"))
    x, y = np.array([p.split(",") for p in found["regions"][1:].split("L")], float).T
    np.testing.assert_allclose(x, [0, 50, 100])
    np.testing.assert_allclose(y, [100, 60, 100 - (40 + 50 / 3)], atol=0.01)  # two places


def test_alarm_that_hardly_ends_is_warned_of(workdir):
    figures = read_metrics(workdir / "metrics.json")
    figures["events"]["normal_in_alarm"] = 0.97
    write_metrics(workdir / "metrics.json", figures)
    text = " ".join(render(workdir).read_text(encoding="utf-8").split())
    assert "An alarm is on for 97 % of the normal test frames" in text


def test_page_of_an_earlier_version_can_be_made_again(workdir):
    figures = read_metrics(workdir / "metrics.json")
    why = {"value": None, "why": "not computed by this version"}
    figures |= {"events": why, "calibration": why}
    del figures["regions"]
    write_metrics(workdir / "metrics.json", figures)
    assert "No threshold: not computed" in render(workdir).read_text(encoding="utf-8")


def test_the_best_control_is_drawn_beside_the_curves(workdir, frames):
    scored = read_scores(workdir / "scores.npz")
    scored = dataclasses.replace(scored, controls=controls(frames))
    write_controls(workdir / "controls.npz", scored)
    page = Page(render(workdir).read_text(encoding="utf-8"))
    paths = [attributes["class"] for tag, attributes in page.tags if tag == "path"]
    assert paths[2:8] == ["chance", "other", "paper", "other", "paper", "normal"]


def test_page_shows_figures_controls_pictures_and_how_to_make_it_again(page):
    text = " ".join(page.text)
    for words in (
        "AUC macro (strict)",
        "mean squared difference",
        "too few videos to say (best control: ",
        "Strongest hits",
        "Worst false alarms",
        "config.input.height",
        "sha256 of scores.npz",
        "render('.')",
        "1,111 of 1,234",
        "8 of 9",
        "MNAD prediction 2020",
        "for 28.8 false alarms an hour, the fewest that so little footage can promise",
        "trained on",
        "threshold (online)",
    ):
        assert words in text


def test_page_is_made_of_the_files_alone(workdir):
    first = render(workdir).read_bytes()
    assert render(workdir).read_bytes() == first
    (workdir / "pictures" / "index.json").unlink()
    assert b"Strongest hits" not in render(workdir).read_bytes()


def test_pictures_of_a_methods_own_stand_under_the_heading_they_bring(workdir):
    index = workdir / "pictures" / "index.json"
    entries = json.loads(index.read_text())
    own = {"file": "a.png", "kind": "votes", "caption": "c", "title": "t"}
    index.write_text(
        json.dumps([own | {"group": "How they vote"}, own | {"kind": "map"}, *entries])
    )
    text = render(workdir).read_text(encoding="utf-8")
    headings = ("Worst false alarms", "Strongest hits", "How they vote", "Map")
    places = [text.index(f"<h2>{heading}</h2>") for heading in headings]
    assert places == sorted(places)


def test_set_without_figures_still_has_a_page(workdir, frames):
    scored = read_scores(workdir / "scores.npz")
    unknown = [np.full(len(video), -1, np.int8) for video in scored.labels]
    scored = dataclasses.replace(scored, labels=unknown)
    figures = summarise(scored, frames, replicates=20, recomputed=5)
    write_metrics(workdir / "metrics.json", figures)
    assert "no frame has both" in render(workdir).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["../metrics.json", "../../a.png", "/etc/hostname", "index.json"])
def test_picture_outside_its_folder_is_refused(workdir, file):
    index = workdir / "pictures" / "index.json"
    entries = json.loads(index.read_text())
    entries[0]["file"] = file
    index.write_text(json.dumps(entries))
    with pytest.raises(DataError, match=re.escape(repr(file))):
        render(workdir)


def test_index_that_is_no_list_of_pictures_is_named(workdir):
    (workdir / "pictures" / "index.json").write_text('[{"file": "a.png"}]')
    with pytest.raises(DataError, match=r"index\.json is no list of pictures"):
        render(workdir)


def test_missing_picture_is_named(workdir):
    (workdir / "pictures" / "a.png").unlink()
    with pytest.raises(DataError, match=r"no picture .*a\.png"):
        render(workdir)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no scores at .*scores\.npz"):
        render(tmp_path)


def test_line_breaks_where_there_is_no_score():
    path = line(np.array([np.nan, 0.0, 1.0, np.nan, 0.5]), 0.0, 1.0)
    assert path == "M300.0,100.0L500.0,0.0M900.0,50.0L900.0,50.0"


def test_long_video_keeps_its_peaks():
    scores = np.zeros(6000)
    scores[4321] = 1.0
    path = line(scores, 0.0, 1.0)
    assert path.count("L") < 600
    assert ",0.0L" in path


def test_shades_cover_what_is_true():
    true = np.array([True, False, False, True, True])
    assert runs(true) == [(0, 1), (3, 5)]
    assert shades(true) == [{"left": 0.0, "width": 20.0}, {"left": 60.0, "width": 40.0}]


# The head, the badge, the axes


def evaluated(folder, scored, **run):
    write_scores(folder / "scores.npz", scored)
    write_metrics(folder / "metrics.json", summarise(scored, run=run, replicates=20, recomputed=5))
    return render(folder).read_text(encoding="utf-8")


def test_the_title_is_the_run_and_its_day_stands_below(tmp_path, enough):
    folder = tmp_path / "my run"
    folder.mkdir()
    date = "2026-12-01T09:05:03+00:00"
    for about in ({"date": date}, {"environment": {"date": date}}):
        text = evaluated(folder, enough, **about)
        assert "<title>my run: evaluation</title>" in text
        assert re.search(r"<h1>my run</h1>\s*<p[^>]*>2026-12-01 09:05 UTC · mnad · ", text)
    assert re.search(r"<h1>my run</h1>\s*<p[^>]*>mnad · ", evaluated(folder, enough))


def test_too_few_videos_have_no_bar_and_no_badge(tmp_path, scored, enough):
    few, many = (evaluated(tmp_path, each) for each in (scored, enough))
    for text, badges in ((few, 0), (many, 2)):
        tags = [attributes.get("class", "") for _, attributes in Page(text).tags]
        assert sum(name.startswith("chip") for name in tags) == badges
        assert sum(name.startswith("span of-") for name in tags) == badges
        assert ("too few videos to say: 3 of both classes, 6 are needed" in text) == (badges == 0)
    assert "too few videos to say (best control: " in few


def test_curves_have_ticks_and_a_legend(tmp_path, enough):
    text = evaluated(tmp_path, enough)
    curves_of_both = text[text.index("<h2>Curves</h2>") : text.index("<h2>Timelines</h2>")]
    assert curves_of_both.count('<div class="across"><span>0</span><span>0.5</span>') == 4
    assert curves_of_both.count('<div class="upwards"><span>1</span><span>0.5</span>') == 4
    assert curves_of_both.count("<line ") == 2 * 6
    assert '<div class="key">' in curves_of_both


def test_hashes_are_folded_and_words_explained(tmp_path, enough):
    named = dataclasses.replace(enough, meta=enough.meta | {"config_hash": "c" * 64})
    text = evaluated(tmp_path, named)
    folds = re.findall(r"<details>(.*?)</details>", text, re.S)
    assert len(folds) == 2
    assert "c" * 64 in folds[1]
    assert text.count("c" * 64) == 1
    assert text.count("sha256 of") == folds[1].count("sha256 of") == 2
    assert "<li>micro: all frames of all videos in one ranking" in folds[0]

"""The report: one page, no request, names that stay text."""

import dataclasses
import html.parser
import json
import re

import cv2
import numpy as np
import pytest

from vad_jax.evaluation import (
    controls,
    read_scores,
    render,
    summarise,
    write_controls,
    write_metrics,
    write_scores,
)
from vad_jax.evaluation.report.timeline import line, runs, shades
from vad_jax.types import DataError

EVIL = "<script>alert(1)</script>"
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
        scored, names=("01", EVIL, "03", '"><img src=x onerror=y>'), meta={"method": EVIL}
    )
    write_scores(tmp_path / "scores.npz", scored)
    run = {"device": EVIL, "config": {"input": {"height": 64}}}
    figures = summarise(scored, frames, run=run, replicates=50, recomputed=10)
    write_metrics(tmp_path / "metrics.json", figures)
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), frames[0][0])
    entry = {"file": "a.png", "video": EVIL, "frame": 3, "score": 0.7, "label": 1}
    entries = [entry | {"kind": kind, "caption": EVIL} for kind in ("hit", "false_alarm")]
    (tmp_path / "pictures" / "index.json").write_text(json.dumps(entries))
    return tmp_path


@pytest.fixture
def page(workdir):
    return Page(render(workdir).read_text(encoding="utf-8"))


def test_names_are_text_and_never_markup(page):
    assert {"script", "iframe", "object", "embed", "link"}.isdisjoint(tag for tag, _ in page.tags)
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


def test_every_video_has_its_timeline(page):
    paths = [attributes for tag, attributes in page.tags if tag == "path"]
    assert [path["class"] for path in paths[-8:]] == ["online", "paper"] * 4
    assert all(re.fullmatch(r"(M[\d.,L]+)+", path["d"]) for path in paths)
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "i"]
    assert classes.count("hatch") == 4 + 1  # the first frames of each video, and the key
    assert classes.count("truth") == 4 + 2  # in two keys


def test_the_best_control_is_drawn_beside_the_curves(workdir, frames):
    scored = read_scores(workdir / "scores.npz")
    scored = dataclasses.replace(scored, controls=controls(frames))
    write_controls(workdir / "controls.npz", scored)
    page = Page(render(workdir).read_text(encoding="utf-8"))
    paths = [attributes["class"] for tag, attributes in page.tags if tag == "path"]
    assert paths[:6] == ["chance", "other", "paper", "other", "paper", "normal"]


def test_page_shows_figures_controls_pictures_and_how_to_make_it_again(page):
    text = " ".join(page.text)
    for words in (
        "AUC macro (strict)",
        "mean squared difference",
        "the best control (",
        "Strongest hits",
        "Worst false alarms",
        "config.input.height",
        "sha256 of scores.npz",
        "render('.')",
    ):
        assert words in text


def test_page_is_made_of_the_files_alone(workdir):
    first = render(workdir).read_bytes()
    assert render(workdir).read_bytes() == first
    (workdir / "pictures" / "index.json").unlink()
    assert b"Strongest hits" not in render(workdir).read_bytes()


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

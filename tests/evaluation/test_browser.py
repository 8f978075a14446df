"""The report as a reader meets it: a headless Chromium opens it and clicks."""

import shutil

import pytest
from support import browser

from vad_jax.evaluation import render

pytestmark = pytest.mark.slow
BOX = """(() => {
  const plot = document.querySelectorAll(".plot")[%d];
  plot.scrollIntoView({block: "center"});
  const box = plot.getBoundingClientRect();
  return [box.left, box.top, box.width, box.height];
})()"""
TIMELINE = "document.querySelectorAll('.timeline')[%d]"


@pytest.fixture(scope="module")
def report(finished_run, tmp_path_factory):
    return render(shutil.copytree(finished_run[0], tmp_path_factory.mktemp("report") / "run"))


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    path = browser.find()
    if path is None:
        pytest.skip("needs a Chromium on the PATH")
    with browser.Browser(path, tmp_path_factory.mktemp("profile")) as driven:
        driven.open(report)
        yield driven


def click(page, video, share):
    """Clicks a timeline so far along its width; returns number, picture and words that show."""
    left, top, width, height = page.value(BOX % video)
    page.click(left + share * width, top + height / 2)
    return shown(page, video)


def shown(page, video):
    figure = TIMELINE % video
    picture, words = (f"{figure}.querySelector('.shown {tag}')" for tag in ("img", "p"))
    number = int(page.value(f"{figure}.dataset.frame"))
    return number, page.value(f"{picture}.src"), page.value(f"{words}.textContent")


def test_a_click_shows_the_frame_that_it_meets(page):
    early, first, words = click(page, 1, 0.2)
    late, second, _ = click(page, 1, 0.8)
    assert abs(early - 24) <= 2  # of 120 frames every 4th is scored, and all of these are kept
    assert abs(late - 96) <= 2
    assert first != second
    assert first.startswith("data:image/jpeg;base64,")
    assert words.startswith(f"frame {early} · ")
    shape = f"(p => p.naturalWidth / p.naturalHeight)({TIMELINE % 1}.querySelector('img'))"
    assert page.value(shape) == pytest.approx(2, abs=0.1)  # the square frame, its map beside it


def test_arrow_keys_go_on_from_there(page):
    before, picture, _ = click(page, 0, 0.5)
    page.press("ArrowRight")
    after, other, _ = shown(page, 0)
    assert after == before + 4
    assert other != picture


def test_the_page_asks_for_nothing_and_complains_of_nothing(page):
    click(page, 2, 0.5)
    asked = [
        m["params"]["request"]["url"]
        for m in page.messages
        if m.get("method") == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1
    wrong = ("Log.entryAdded", "Runtime.exceptionThrown")
    assert [m for m in page.messages if m.get("method") in wrong] == []


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_window(page, width):
    page.size(width, 800)
    click(page, 0, 0.3)
    assert page.value("document.documentElement.scrollWidth") <= width

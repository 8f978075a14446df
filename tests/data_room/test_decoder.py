"""Decoding in a child process: what it gives, and that nothing it meets harms ours."""

import os
import signal
import subprocess
import sys
import time

import av
import cv2
import numpy as np
import pytest
from support import films

from vad_jax.data import decoder
from vad_jax.data.decoder import Decoded, frame_rate, iterate
from vad_jax.datasets.folder import Source
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


def test_a_frame_without_a_time_has_none(tmp_path):
    path = films.write(tmp_path / "a.mpg", frames=12, fps=25, code="PIM1")
    times = seconds(path)
    assert len(times) == 12
    known = [when for when in times if when is not None]
    assert known == sorted(set(known))


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


def test_a_film_whose_size_changes_is_refused_with_the_frame(tmp_path):
    path = films.of_two_sizes(tmp_path / "a.avi", frames=10, change=6)
    frames = iter(Decoded(of(path), colour="bgr"))
    assert [next(frames).pixels.shape for _ in range(6)] == [(48, 64, 3)] * 6
    with pytest.raises(DataError, match=r"Video a, frame 6: 24x32 pixels, the frames before 48x64"):
        next(frames)


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


def test_the_list_of_containers_keeps_others_out(tmp_path):
    """Without it FFmpeg opens raw Y4M, and so it would a playlist."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"YUV4MPEG2 W16 H16 F25:1 Ip C420\n" + (b"FRAME\n" + bytes(384)) * 3)
    with pytest.raises(DataError, match="holds no readable frame"):
        list(Decoded(of(path), colour="bgr"))
    with av.open(str(path)) as plain:
        assert len(list(plain.decode(video=0))) == 3


def test_what_is_no_plain_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")  # nobody writes: opening it would never end
    with pytest.raises(DataError, match="is no file"):
        list(Decoded(of(tmp_path / "a.mp4"), colour="bgr"))


def test_a_decoder_that_hangs_is_given_up_and_killed(tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=400, size=(240, 320))
    frames = iter(Decoded(of(path), colour="bgr", silence_seconds=1.0))
    next(frames)
    (child,) = _children() - {idle.pid for idle in decoder._idle}
    os.kill(child, signal.SIGSTOP)
    since = time.monotonic()
    with pytest.raises(DataError, match=r"Video a: its decoder was silent for 1 seconds after \d+"):
        list(frames)
    assert 0.9 < time.monotonic() - since < 10
    assert child not in _children()


def test_waiting_has_an_end_in_all(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "PATIENCE_SECONDS", (0.0, 0.0))
    path = films.write(tmp_path / "a.mp4")
    with pytest.raises(DataError, match="its decoder was silent for 0 seconds after 0 frames"):
        list(Decoded(of(path), colour="bgr"))


def test_an_endless_video_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "MAX_FRAMES", 10)
    path = films.write(tmp_path / "a.mp4", frames=20)
    with pytest.raises(DataError, match="does not end and was given up after 10 frames"):
        list(Decoded(of(path), colour="bgr"))


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (b"F", b"short", "what is no frame"),
        (b"F", decoder._FRAME.pack(0.0, 4, 4, 3, 4, 4) + bytes(47), "what is no frame"),
        (b"X", b"", "what is no frame"),
        (b".", b"{", "what is no ending"),
        (b".", b'{"error": 3, "note": null, "unreadable": true}', "what is no ending"),
    ],
)
def test_answers_of_a_child_out_of_its_mind_are_not_believed(
    tmp_path, monkeypatch, kind, body, said
):
    monkeypatch.setattr(decoder.Child, "answer", lambda self, seconds: (kind, bytearray(body)))
    with pytest.raises(DataError, match=f"Video a: its decoder sent {said}"):
        list(Decoded(of(films.write(tmp_path / "a.mp4")), colour="bgr"))


def test_an_idle_child_that_died_is_replaced(tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=5)
    assert len(list(Decoded(of(path), colour="bgr"))) == 5
    for idle in decoder._idle:
        os.kill(idle.pid, signal.SIGKILL)
        idle._process.wait()
    assert len(list(Decoded(of(path), colour="bgr"))) == 5


def test_a_child_ends_with_a_parent_that_was_killed(tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=400, size=(240, 320))
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from vad_jax.data.decoder import Decoded\nfrom vad_jax.data.source import Source\n"
        "frames = iter(Decoded(Source('a', None, Path(sys.argv[1])), colour='bgr'))\n"
        "next(frames)\nprint('reads', flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "reads\n"
    (child,) = _children(parent.pid)
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 10
    while os.path.exists(f"/proc/{child}") and time.monotonic() < until:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{child}")


def test_a_decoder_that_dies_is_named_and_the_next_video_is_read(tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=400, size=(240, 320))
    frames = iter(Decoded(of(path), colour="bgr"))
    next(frames)
    (child,) = _children() - {idle.pid for idle in decoder._idle}
    os.kill(child, signal.SIGKILL)
    with pytest.raises(DataError, match=r"Video a: its decoder died \(signal 9\) after \d+ frames"):
        list(frames)
    assert len(list(Decoded(of(path), colour="bgr", size=(8, 8)))) == 400


def _children(me=None):
    me = me or os.getpid()
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
    with pytest.raises(DataError, match=r"Video large.*more than the 0\.4 GB of memory allowed"):
        list(_strict(Decoded(source, colour="bgr", memory_bytes=400 << 20)))
    assert len(list(_strict(Decoded(source, colour="bgr", size=(8, 8))))) == 1


def test_a_film_beyond_the_limit_of_memory_says_so(tmp_path):
    film = {"codec": "mjpeg", "kind": "yuvj420p", "size": (6000, 8000)}  # takes 1.1 GB
    path = films.coded(tmp_path / "a.mkv", times=[0, 100], **film)
    with pytest.raises(DataError, match=r"Video a: .*more than the 0\.6 GB of memory allowed"):
        list(Decoded(of(path), colour="bgr", memory_bytes=650 << 20))


def _strict(pictures):
    for picture in pictures:
        if isinstance(picture, DataError):
            raise picture
        yield picture


def test_a_video_left_early_leaves_no_process_behind(tmp_path):
    path = films.write(tmp_path / "a.avi", frames=100)
    frames = iterate(of(path), height=8, width=8, colour="grey")
    next(frames)
    busy = _children() - {child.pid for child in decoder._idle}
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

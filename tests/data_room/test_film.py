"""Films as the field has them: frames, times, damage. `test_film_table.py` has all the others."""

import logging
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support import films

from vad_jax.data import decoder, film
from vad_jax.data.decoder import Decoded, frame_rate
from vad_jax.data.film import FORMATS
from vad_jax.data.source import Source
from vad_jax.data.suffixes import IMAGES, VIDEOS
from vad_jax.types import DataError

HERE = Path(__file__).parents[1] / "data" / "films"
BY_FFMPEG = np.load(HERE / "ffmpeg.npz")  # what ffmpeg's own program made of them
NAMES = sorted({key.split("/")[0] for key in BY_FFMPEG})


def read(path, *, levels=None):
    decoded = Decoded(Source(path.stem, None, path, levels), colour="bgr")
    return list(decoded), decoded.note


def good(pictures):
    return [picture for picture in pictures if not isinstance(picture, DataError)]


@pytest.fixture
def whole(tmp_path):
    return shutil.copy(HERE / "whole.mkv", tmp_path / "a.mkv")


@pytest.mark.parametrize("name", NAMES)
def test_frames_and_their_times_are_those_of_ffmpeg(name):
    levels = (0, 4095) if name == "12_bits_grey.mkv" else None
    pictures, note = read(HERE / name, levels=levels)
    assert note is None
    times, frames = BY_FFMPEG[f"{name}/times"], BY_FFMPEG[f"{name}/small"]
    np.testing.assert_allclose([picture.seconds for picture in pictures], times, atol=1e-3)
    small = [cv2.resize(p.pixels, (8, 8), interpolation=cv2.INTER_AREA) for p in pictures]
    # Other processors round colours in other ways.
    np.testing.assert_allclose(np.array(small, int), frames.astype(int), atol=2)


def test_interlaced_frames_are_read_twice_alike_and_move():
    (first, _), (second, _) = (read(HERE / "interlaced.mpg") for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    assert all(frame.pixels.std() > 20 for frame in first), "no frame is constant"
    assert len({frame.pixels.tobytes() for frame in first}) == len(first)


def test_an_edit_list_is_no_damage_and_hides_frames():
    """`ffmpeg -ss 0.5 -c copy`: 25 frames are in the file, 12 are shown."""
    path = HERE / "edit_list.mp4"
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames > 12
    pictures, note = read(path)
    assert (len(pictures), note) == (12, None)
    assert pictures[0].seconds == 0


def test_a_variable_rate_is_20_frames_of_a_fifth_of_a_second_and_then_faster_ones():
    seconds = [picture.seconds for picture in read(HERE / "variable.mkv")[0]]
    expected = [*np.arange(20) / 5, *(4 + np.arange(4) / 30)]
    np.testing.assert_allclose(seconds, expected, atol=2e-3)


def test_a_film_cut_in_half_says_so_whatever_its_container(whole):
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) // 2])
    pictures, note = read(whole)
    assert 0 < len(good(pictures)) < 40
    assert "Video a: it ends at" in note
    assert "its container says 2.40 s" in note
    assert note.endswith("(" + str(whole) + "). The film is cut off or damaged.")


@pytest.mark.parametrize("at", [25, 45, 60])
def test_a_hole_is_named(whole, at):
    data = bytearray(whole.read_bytes())
    begin = len(data) * at // 100
    data[begin : begin + 2000] = bytes(2000)
    whole.write_bytes(data)
    (first, note), (second, again) = read(whole), read(whole)
    assert note == again
    assert "The film is cut off or damaged." in note
    assert len(good(first)) < 60
    for one, other in zip(good(first), good(second), strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_damage_gives_the_same_frames_with_any_number_of_threads(whole, monkeypatch):
    data = bytearray(whole.read_bytes())
    at = len(data) // 2
    data[at : at + 800] = bytes(800)
    whole.write_bytes(data)
    found = []
    for threads in (1, 2, 4):
        monkeypatch.setattr(film, "THREADS", threads)
        source = Source("a", None, whole)
        found.append([_bytes(frame) for frame in film.film_frames(source, "bgr")])
    assert found[0] == found[1] == found[2]


def _bytes(frame):
    return str(frame) if isinstance(frame, DataError) else frame[0].tobytes()


def test_a_frame_that_could_not_be_filled_is_a_bad_frame(tmp_path):
    """Half a JPEG in a film: what is missing would be memory that was never written."""
    path = films.write(tmp_path / "a.avi", frames=12)
    data = bytearray(path.read_bytes())
    at = data.index(b"movi")
    for _ in range(7):
        at = data.index(b"00dc", at) + 4
    size = int.from_bytes(data[at : at + 4], "little")
    data[at + 4 + size // 2 : at + 4 + size] = bytes(size - size // 2)
    path.write_bytes(data)
    pictures, note = read(path)
    assert [n for n, picture in enumerate(pictures) if isinstance(picture, DataError)] == [6]
    assert "Video a, frame 6: damaged (mjpeg: " in str(pictures[6])
    assert "the decoder complains after 6 frames" in note


def test_a_jump_in_times_is_named(tmp_path):
    times = [*range(0, 600, 100), *range(3500, 4100, 100)]
    path = films.coded(tmp_path / "a.mkv", times=times)
    pictures, note = read(path)
    assert [round(1000 * picture.seconds) for picture in pictures] == times
    assert "3.00 s are missing after frame 5 (0.50 s)" in note
    assert note.endswith(
        "The film is damaged, put together of several, or recorded on motion alone."
    )


def test_times_that_fall_back_are_named_and_not_given(tmp_path):
    part = films.coded(tmp_path / "part.ts", times=range(0, 3000, 100)).read_bytes()
    path = tmp_path / "a.ts"
    path.write_bytes(part + part)
    pictures, note = read(path)
    known = [p.seconds for p in pictures if p.seconds is not None]
    assert len(pictures) == 60
    assert known == sorted(set(known))
    assert "its times fall back at frame 30" in note


def test_a_size_that_changes_names_the_frame():
    with pytest.raises(DataError, match=r"two_sizes, frame 5: 32x32 pixels.*before 48x48"):
        read(HERE / "two_sizes.ts")


def test_a_codec_without_a_decoder_is_named_with_a_remedy():
    said = (
        r"no_decoder\.ts \(\d+ bytes\) is coded as avs2, .*no decoder.*: ffmpeg -i no_decoder\.ts"
    )
    with pytest.raises(DataError, match=said):
        read(HERE / "no_decoder.ts")


def test_a_film_without_pictures_says_so(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame(format="s16", layout="mono", samples=800)
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(DataError, match=r"holds no readable frame \(no stream of pictures\)"):
        read(path)


def test_a_film_whose_header_says_too_much_is_refused(tmp_path):
    path = films.coded(tmp_path / "a.avi", times=[0], codec="rawvideo", kind="bgr24")
    data = bytearray(path.read_bytes())
    at = data.index(b"strf") + 8 + 4  # width and height of its frames
    data[at : at + 8] = (9000).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(DataError, match="9000x9000 pixels, more than 64 megapixels"):
        read(path)


def test_grey_films_of_more_than_8_bits_are_not_squeezed_unasked():
    with pytest.raises(DataError, match=r"16 bits a value \(here 112 to \d+\).*data\.levels=LOW"):
        read(HERE / "12_bits_grey.mkv")


def test_a_bare_stream_has_no_times_and_no_rate(tmp_path):
    path = films.coded(tmp_path / "a.h264", times=range(0, 1000, 100), codec="libx264")
    pictures, note = read(path)
    assert (len(pictures), note) == (10, None)
    assert [picture.seconds for picture in pictures] == [None] * 10
    assert frame_rate(path) is None


def test_frames_of_avi_follow_each_other_at_its_rate(tmp_path):
    """AVI tells when a frame is decoded, which is earlier or later where frames are reordered."""
    path = films.coded(tmp_path / "a.avi", times=range(0, 1000, 100), codec="libx264")
    np.testing.assert_allclose([p.seconds for p in read(path)[0]], np.arange(10) / 10)


def test_what_is_amiss_is_logged_once(whole, caplog):
    whole.write_bytes(whole.read_bytes()[:5000])
    with caplog.at_level(logging.WARNING):
        _, note = read(whole)
    assert [record.message for record in caplog.records] == [note]


def test_a_grey_film_keeps_three_equal_channels(tmp_path):
    path = films.coded(tmp_path / "a.mkv", times=range(0, 300, 100), codec="ffv1", kind="gray")
    for picture in read(path)[0]:
        assert (picture.pixels == picture.pixels[..., :1]).all()


def test_every_suffix_is_a_film_or_a_picture():
    assert not IMAGES & VIDEOS
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGES | VIDEOS)
    assert {".ts", ".flv", ".wmv", ".3gp", ".h264", ".mp4", ".mkv"} <= VIDEOS


def test_ffmpeg_knows_every_container_that_is_let_in():
    known = {name for whole in av.formats_available for name in whole.split(",")}
    assert set(FORMATS) <= known


def test_a_film_does_not_load_its_library_into_the_process_that_asks(tmp_path):
    path = films.write(tmp_path / "a.mp4", frames=2)
    assert decoder.stated(path) == (10.0, 2)
    assert "film" not in vars(decoder)

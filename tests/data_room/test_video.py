import struct
import zlib

import cv2
import numpy as np
import pytest

from vad_jax.data.decoder import frame_rate, iterate
from vad_jax.data.video import MAX_PIXELS, read_image
from vad_jax.datasets.folder import Source
from vad_jax.types import DataError

FORMATS = ("jpg", "png", "bmp", "tif")


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)


@pytest.fixture(params=FORMATS)
def path(request, tmp_path, picture):
    path = tmp_path / f"000.{request.param}"
    cv2.imwrite(str(path), picture)
    return path


def video_file(path, *, frames=7):
    fourcc = cv2.VideoWriter_fourcc(*("mp4v" if path.suffix == ".mp4" else "MJPG"))
    writer = cv2.VideoWriter(str(path), fourcc, 12.0, (32, 24))
    for number in range(frames):
        writer.write(np.full((24, 32, 3), (20 * number, 100, 200), np.uint8))
    writer.release()
    return Source("clip", None, path)


def test_a_picture_is_what_opencv_reads(path):
    colour, grey = cv2.imread(str(path)), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(read_image(path, colour="bgr"), colour)
    np.testing.assert_array_equal(read_image(path, colour="rgb"), colour[..., ::-1])
    np.testing.assert_array_equal(read_image(path, colour="grey"), grey[..., None])


def test_resizing_is_bilinear_and_left_out_at_the_own_size(path):
    whole = cv2.imread(str(path))
    small = cv2.resize(whole, (16, 8), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(read_image(path, size=(8, 16)), small)
    np.testing.assert_array_equal(read_image(path, size=(24, 32)), whole)
    assert read_image(path, size=(8, 16), colour="grey").shape == (8, 16, 1)


def test_a_cut_picture_is_never_half_read(path):
    whole = path.read_bytes()
    for kept in (len(whole) - 2, len(whole) * 3 // 4, len(whole) // 2, 60, 12, 3):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=rf"{kept} bytes\) is (cut off|no picture)"):
            read_image(path)


def test_a_thumbnail_does_not_hide_that_a_jpeg_is_cut(tmp_path, picture):
    whole = cv2.imencode(".jpg", picture)[1].tobytes()
    thumbnail = b"\xff\xe1\x00\x08ab\xff\xd9xx"
    path = tmp_path / "a.jpg"
    path.write_bytes(whole[:2] + thumbnail + whole[2:])
    assert read_image(path).shape == (24, 32, 3)
    path.write_bytes(whole[:2] + thumbnail + whole[2:-2])
    with pytest.raises(DataError, match="cut off"):
        read_image(path)


def test_damage_beside_the_pixels_does_not_matter(tmp_path, picture):
    whole = cv2.imencode(".jpg", picture)[1].tobytes()
    value_beyond_the_end = struct.pack("<HHII", 282, 5, 1, 9999)  # the resolution
    about = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + value_beyond_the_end + bytes(4)
    path = tmp_path / "a.jpg"
    path.write_bytes(
        whole[:2] + b"\xff\xe1" + struct.pack(">H", len(about) + 2) + about + whole[2:]
    )
    np.testing.assert_array_equal(read_image(path), cv2.imdecode(np.frombuffer(whole, np.uint8), 1))


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"hello", "is no picture")])
def test_what_is_no_picture_is_named_with_video_frame_path_and_bytes(tmp_path, content, said):
    good, bad = tmp_path / "0.png", tmp_path / "1.png"
    cv2.imwrite(str(good), np.zeros((4, 4), np.uint8))
    bad.write_bytes(content)
    frames = iterate(Source("gate", (good, bad), None), height=4, width=4, colour="bgr")
    next(frames)
    with pytest.raises(DataError, match=rf"Video gate, frame 1: .*1\.png.*{said}") as error:
        next(frames)
    assert f"({len(content)} bytes)" in str(error.value)


def test_a_damaged_picture_with_both_its_ends_is_named(tmp_path, picture):
    path = tmp_path / "0.png"
    cv2.imwrite(str(path), picture)
    whole = bytearray(path.read_bytes())
    whole[33:41] = bytes(8)  # the first data chunk's length and name
    path.write_bytes(whole)
    with pytest.raises(DataError, match="cannot be decoded"):
        read_image(path)


def test_a_picture_too_large_is_refused_from_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))
    whole = bytearray(path.read_bytes())
    whole[16:24] = (8001).to_bytes(4, "big") + (8000).to_bytes(4, "big")
    whole[29:33] = zlib.crc32(whole[12:29]).to_bytes(4, "big")
    path.write_bytes(whole)
    assert MAX_PIXELS < 8000 * 8001
    with pytest.raises(DataError, match="8000x8001 pixels, more than 64 megapixels"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_video_file_gives_all_its_frames(tmp_path, suffix):
    source = video_file(tmp_path / f"clip{suffix}")
    bgr = list(iterate(source, height=24, width=32, colour="bgr"))
    rgb = list(iterate(source, height=24, width=32, colour="rgb"))
    grey = list(iterate(source, height=12, width=16, colour="grey"))
    assert len(bgr) == len(rgb) == len(grey) == 7
    np.testing.assert_array_equal(bgr[3], rgb[3][..., ::-1])
    np.testing.assert_allclose(bgr[3][5, 5], (60, 100, 200), atol=12)  # lossy codecs
    assert (grey[0].shape, grey[0].dtype) == ((12, 16, 1), np.uint8)
    assert frame_rate(source.file) == 12.0


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_an_unreadable_video_is_named_with_its_bytes(tmp_path, content):
    path = tmp_path / "clip.avi"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"Video clip: .*\({len(content)} bytes\).*no readable"):
        list(iterate(Source("clip", None, path), height=8, width=8, colour="bgr"))


@pytest.mark.parametrize("head", [b"#EXTM3U\n", b"ffconcat version 1.0\n"])
def test_a_playlist_is_no_video(tmp_path, head):
    path = tmp_path / "clip.mp4"
    path.write_bytes(head + b"http://example.org/a.ts\n")
    with pytest.raises(DataError, match="playlist"):
        list(iterate(Source("clip", None, path), height=8, width=8, colour="bgr"))


def test_the_decoder_counts_where_the_container_differs(tmp_path, caplog):
    source = video_file(tmp_path / "clip.avi", frames=20)
    whole = source.file.read_bytes()
    source.file.write_bytes(whole[: len(whole) * 3 // 4])
    counted = len(list(iterate(source, height=8, width=8, colour="bgr")))
    assert 0 < counted < 20
    assert f"Video clip: {counted} frames decoded, its container says 20" in caplog.text


def test_two_sizes_within_a_video_are_named(tmp_path):
    for number, size in enumerate([(4, 6), (4, 6), (6, 4)]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros(size, np.uint8))
    source = Source("gate", tuple(sorted(tmp_path.iterdir())), None)
    with pytest.raises(DataError, match=r"gate, frame 2: 6x4 pixels.*4x6"):
        list(iterate(source, height=4, width=4, colour="bgr"))

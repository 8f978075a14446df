"""Pictures of more than 8 bits a value: thermal cameras write 12 bits in 16."""

import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vad_jax.data import frames as store
from vad_jax.data.decoder import Decoded
from vad_jax.data.source import Source
from vad_jax.data.video import read_image
from vad_jax.types import ConfigError, DataError

WARM = np.linspace(7000, 8200, 32 * 24).reshape(24, 32).round().astype(np.uint16)


@pytest.fixture(params=["png", "tif"])
def suffix(request):
    return request.param


def written(folder, values, suffix="png"):
    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(values):
        assert cv2.imwrite(str(folder / f"{number}.{suffix}"), frame)
    return Source(folder.name, tuple(sorted(folder.iterdir())), None)


def tiff(values, *, floating=False, photometric=1, beside=None):
    """The bytes of a TIFF of `[H, W, C]`, as OpenCV and Pillow do not write them."""
    height, width, channels = values.shape
    form = 3 if floating else 1
    tags = {
        256: width,
        257: height,
        258: [8 * values.itemsize] * channels,
        259: 1,
        262: photometric,
        273: 0,
        277: channels,
        278: height,
        279: values.nbytes,
        339: [form] * channels,
    } | ({} if beside is None else {338: beside})
    begin = 8 + 2 + 12 * len(tags) + 4
    lists, entries = b"", b""
    for tag, value in sorted(tags.items()):
        short = isinstance(value, list)
        several = value if short else [value]
        packed = struct.pack(f"<{len(several)}{'H' if short else 'I'}", *several)
        if len(packed) > 4:
            packed, lists = struct.pack("<I", begin + len(lists)), lists + packed
        entries += struct.pack("<HHI", tag, 3 if short else 4, len(several)) + packed.ljust(
            4, b"\0"
        )
    entries = entries.replace(
        struct.pack("<HHII", 273, 4, 1, 0), struct.pack("<HHII", 273, 4, 1, begin + len(lists))
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + entries + bytes(4) + lists + values.tobytes()


def test_what_8_bits_cannot_hold_is_refused_with_its_range(tmp_path, suffix):
    (path,) = written(tmp_path / "a", [WARM], suffix).images
    said = rf"0\.{suffix} has 16 bits a value \(here 7000 to 8200\).*data\.levels=LOW,HIGH"
    for colour in ("grey", "bgr", "rgb"):
        with pytest.raises(DataError, match=said):
            read_image(path, colour=colour)


def test_one_scale_for_all_frames_of_a_set(tmp_path, suffix):
    source = written(tmp_path / "a", [WARM, WARM // 2 + 3500], suffix)
    first, second = (
        picture.pixels for picture in Decoded(replace(source, levels=(7000, 8200)), colour="grey")
    )
    expected = np.round((WARM.astype(float) - 7000) / 1200 * 255)
    np.testing.assert_array_equal(first[..., 0], expected)
    assert len(np.unique(first)) == 256
    assert (first.min(), first.max(), second.min(), second.max()) == (0, 255, 0, 128)


def test_beyond_the_range_is_black_or_white(tmp_path):
    (path,) = written(tmp_path / "a", [WARM]).images
    pixels = read_image(path, colour="grey", levels=(7500, 7600))
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)


@pytest.mark.parametrize("times", [256, 257])
def test_8_bits_written_as_16_need_no_range(tmp_path, suffix, times):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    (path,) = written(tmp_path / "a", [values * times], suffix).images
    np.testing.assert_array_equal(read_image(path, colour="grey")[..., 0], values)


def test_deep_colours_keep_their_order(tmp_path, suffix):
    deep = np.stack([WARM, WARM + 100, WARM + 200], axis=-1)
    (path,) = written(tmp_path / "a", [deep], suffix).images
    bgr = read_image(path, colour="bgr", levels=(7000, 8400))
    np.testing.assert_array_equal(
        read_image(path, colour="rgb", levels=(7000, 8400)), bgr[..., ::-1]
    )
    assert (np.diff(bgr.astype(int), axis=-1) > 0).all()
    grey = read_image(path, colour="grey", levels=(7000, 8400))
    np.testing.assert_array_equal(grey[..., 0], cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_degrees_as_floating_numbers(tmp_path, kind):
    degrees = np.linspace(-10, 41, 24 * 32).reshape(24, 32, 1).astype(kind)
    path = tmp_path / "0.tif"
    path.write_bytes(tiff(degrees, floating=True))
    with pytest.raises(DataError, match=r"bits a value \(here -10 to 41\)"):
        read_image(path)
    pixels = read_image(path, colour="grey", levels=(-10.0, 41.0))
    np.testing.assert_array_equal(pixels, np.round((degrees + 10) / 51 * 255))
    degrees[3, 4] = np.nan
    path.write_bytes(tiff(degrees, floating=True))
    with pytest.raises(DataError, match="values that are no numbers"):
        read_image(path, levels=(-10.0, 41.0))


@pytest.mark.parametrize(
    ("channels", "photometric", "beside"),
    [(2, 1, [0]), (4, 2, [0]), (5, 1, [0] * 4), (7, 1, [0] * 6)],
)
def test_channels_beyond_colour_are_refused(tmp_path, channels, photometric, beside):
    path = tmp_path / "0.tif"
    values = np.full((6, 8, channels), 9, np.uint8)
    path.write_bytes(tiff(values, photometric=photometric, beside=beside))
    with pytest.raises(DataError, match=rf"0\.tif has {channels} channels: a frame has one"):
        read_image(path)


def test_transparency_may_go(tmp_path):
    path = tmp_path / "0.tif"
    values = np.stack([np.full((6, 8), level, np.uint8) for level in (9, 99, 199, 255)], axis=-1)
    path.write_bytes(tiff(values, photometric=2, beside=[2]))
    assert read_image(path, colour="rgb")[0, 0].tolist() == [9, 99, 199]


def test_a_range_is_part_of_what_a_cache_knows(tmp_path):
    source = written(tmp_path / "a", [WARM])

    def decode(levels):
        (video,) = store.decode(
            [replace(source, levels=levels)],
            height=24,
            width=32,
            channels=1,
            colour="grey",
            cache=tmp_path / "cache",
            progress=False,
        )
        return video.array[0, -1, -1, 0]

    assert decode((7000, 8200)) == 255
    assert decode((7000, 9400)) == 128
    with pytest.raises(DataError, match="16 bits a value"):
        decode(None)
    for bad in ((5.0, 5.0), (9.0, 1.0), (0.0, float("inf"))):
        with pytest.raises(ConfigError, match="The levels are"):
            decode(bad)

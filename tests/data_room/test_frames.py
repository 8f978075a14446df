import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from vad_jax.data import frames as store
from vad_jax.datasets.folder import Source
from vad_jax.types import ConfigError, DataError

PED2 = Path(__file__).parents[2].parent / "shared" / "data" / "ped2"


def write(folder, frames):
    folder.mkdir(parents=True)
    paths = tuple(folder / f"{number:03d}.png" for number in range(len(frames)))
    for path, frame in zip(paths, frames, strict=True):
        cv2.imwrite(str(path), frame)
    return Source(folder.name, paths, None)


@pytest.fixture
def film():
    return np.random.default_rng(0).integers(0, 256, (6, 16, 20, 3)).astype(np.uint8)


@pytest.fixture
def decode(tmp_path):
    def decode(*sources, channels=3, colour="bgr", height=16, width=20, **options):
        return store.decode(
            sources,
            height=height,
            width=width,
            channels=channels,
            colour=colour,
            cache=tmp_path / "cache",
            progress=False,
            **options,
        )

    return decode


def spoil(path, content=b"not a picture"):
    """Other content under the same size and time."""
    about = path.stat()
    path.write_bytes(content.ljust(about.st_size, b"\0"))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_frames_are_the_decoded_pictures(decode, film, tmp_path):
    (video,) = decode(write(tmp_path / "a", film))
    assert (video.name, len(video), video.source_size) == ("a", 6, (16, 20))
    assert isinstance(video.array[:], np.memmap)
    np.testing.assert_array_equal(video.array, film)


def test_positions_of_any_shape_are_read(decode, film, tmp_path):
    (video,) = decode(write(tmp_path / "a", film))
    index = np.array([[0, 5, 2], [1, 1, 3]])
    np.testing.assert_array_equal(video.read(index), film[index])
    np.testing.assert_array_equal(video.read(4), film[4])


def test_equal_channels_are_stored_once_and_delivered_three_times(decode, film, tmp_path):
    source = write(tmp_path / "grey", film[..., 0])
    (video,) = decode(source)
    assert video.array.shape == (6, 16, 20, 1)
    expected = np.stack([cv2.imread(str(path)) for path in source.images])
    np.testing.assert_array_equal(video.read(np.arange(6)), expected)


def test_one_coloured_pixel_late_in_a_video_keeps_all_channels(decode, film, tmp_path):
    film = np.repeat(film[..., :1], 3, axis=-1)
    film[4, 3, 2] = (1, 2, 3)
    (video,) = decode(write(tmp_path / "a", film))
    np.testing.assert_array_equal(video.array, film)


def test_grey_has_one_channel(decode, film, tmp_path):
    source = write(tmp_path / "a", film)
    (video,) = decode(source, colour="grey", channels=1)
    expected = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in source.images]
    np.testing.assert_array_equal(video.array[..., 0], expected)


def test_rgb_is_bgr_turned_round(decode, film, tmp_path):
    (video,) = decode(write(tmp_path / "a", film), colour="rgb")
    np.testing.assert_array_equal(video.array, film[..., ::-1])


def test_a_colour_has_three_channels(decode, film, tmp_path):
    with pytest.raises(ConfigError, match="colour=bgr has 3 channels, not 1"):
        decode(write(tmp_path / "a", film), channels=1)


def test_frames_are_resized_bilinearly(decode, film, tmp_path):
    (video,) = decode(write(tmp_path / "a", film), height=8, width=8)
    expected = [cv2.resize(frame, (8, 8), interpolation=cv2.INTER_LINEAR) for frame in film]
    np.testing.assert_array_equal(video.array, expected)
    assert video.source_size == (16, 20)


def test_video_files_are_counted_by_decoding(decode, tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (20, 16))
    for number in range(9):
        writer.write(np.full((16, 20, 3), (10 * number, 90, 0), np.uint8))
    writer.release()
    (video,) = decode(Source("clip", None, path))
    assert video.array.shape == (9, 16, 20, 3)


def test_a_second_decoding_touches_no_picture(decode, film, tmp_path):
    source = write(tmp_path / "a", film)
    decode(source)
    for path in source.images:
        spoil(path)
    (video,) = decode(source)
    np.testing.assert_array_equal(video.array, film)


def test_a_changed_picture_is_decoded_again(decode, film, tmp_path):
    source = write(tmp_path / "a", film)
    (before,) = decode(source)
    cv2.imwrite(str(source.images[0]), film[5])
    (after,) = decode(source)
    np.testing.assert_array_equal(after.array[0], film[5])
    assert after.digest != before.digest


@pytest.mark.parametrize("kept", [0, 40, -100])
def test_a_damaged_cache_is_made_again(decode, film, tmp_path, kept):
    source = write(tmp_path / "a", film)
    decode(source)
    (entry,) = (tmp_path / "cache").iterdir()
    whole = (entry / "frames.npy").read_bytes()
    (entry / "frames.npy").write_bytes(whole[:kept])
    (video,) = decode(source)
    np.testing.assert_array_equal(video.array, film)


def test_an_interrupted_decoding_leaves_nothing(decode, film, tmp_path):
    source = write(tmp_path / "a", film)
    spoil(source.images[3])
    with pytest.raises(DataError):
        decode(source)
    assert list((tmp_path / "cache").iterdir()) == []


def test_half_entries_of_killed_processes_are_removed_and_young_ones_are_not(
    decode, film, tmp_path
):
    for name, age in (("old", 90_000), ("young", 60)):
        path = tmp_path / "cache" / f".part-{name}" / "entry" / "frames.npy"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
        for entry in (path, path.parent, path.parents[1]):
            os.utime(entry, (time.time() - age,) * 2)
    decode(write(tmp_path / "gate", film))
    assert [path.name for path in (tmp_path / "cache").glob(".part-*")] == [".part-young"]


def test_videos_keep_their_order(decode, film, tmp_path):
    sources = [write(tmp_path / name, film[: n + 1]) for n, name in enumerate("cabed")]
    videos = decode(*sources)
    assert [(v.name, len(v)) for v in videos] == [(n, i + 1) for i, n in enumerate("cabed")]


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_bad_frame_stops_with_its_place_and_the_remedy(decode, film, tmp_path, content):
    source = write(tmp_path / "gate", film)
    source.images[2].write_bytes(content)
    said = rf"Video gate, frame 2: .*002\.png \({len(content)} bytes\).*on_bad_frame=skip"
    with pytest.raises(DataError, match=said):
        decode(source)


def test_a_skipped_frame_is_zero_named_and_counted(decode, film, tmp_path, caplog):
    source = write(tmp_path / "gate", film)
    spoil(source.images[0])
    spoil(source.images[2])
    (video,) = decode(source, on_bad_frame="skip")
    assert video.broken == (0, 2)
    assert not video.array[[0, 2]].any()
    np.testing.assert_array_equal(video.array[[1, 3, 4, 5]], film[[1, 3, 4, 5]])
    assert "Video gate: 2 of 6 frames cannot be read and are skipped: 0, 2." in caplog.text


def test_a_cache_of_skipped_frames_still_fails_where_none_may_be(decode, film, tmp_path):
    source = write(tmp_path / "gate", film)
    spoil(source.images[2])
    decode(source, on_bad_frame="skip")
    with pytest.raises(DataError, match="gate, frame 2"):
        decode(source)


def test_a_video_with_nothing_readable_is_left_out_and_named(decode, film, tmp_path, caplog):
    good, bad = write(tmp_path / "good", film), write(tmp_path / "bad", film)
    for path in bad.images:
        spoil(path)
    clip = tmp_path / "clip.avi"
    clip.write_bytes(b"no video")
    videos = decode(bad, good, Source("clip", None, clip), on_bad_frame="skip")
    assert [video.name for video in videos] == ["good"]
    assert "nothing readable: Video bad, frame 0" in caplog.text
    assert "2 videos left out" in caplog.text


def test_nothing_readable_at_all_is_an_error_even_when_skipping(decode, film, tmp_path):
    bad = write(tmp_path / "bad", film)
    for path in bad.images:
        spoil(path)
    with pytest.raises(DataError, match=r"None of 1 videos can be read: Video bad"):
        decode(bad, on_bad_frame="skip")


def test_videos_of_two_sizes_are_named_with_both(decode, film, tmp_path):
    one, two = write(tmp_path / "one", film), write(tmp_path / "two", film[:, :8])
    with pytest.raises(DataError, match=r"two, frame 0: 8x20 pixels, but video one has 16x20"):
        decode(one, two)


def test_identity_follows_the_data_and_neither_path_nor_size_of_delivery(decode, film, tmp_path):
    here = decode(write(tmp_path / "here" / "a", film))
    there = decode(write(tmp_path / "there" / "a", film), height=8, width=8)
    renamed = decode(write(tmp_path / "b", film))
    shorter = decode(write(tmp_path / "short" / "a", film[:5]))
    assert store.identity(here) == store.identity(there)
    identities = {store.identity(videos) for videos in (here, renamed, shorter)}
    assert len(identities) == 3


@pytest.mark.skipif(not PED2.is_dir(), reason="no shared folder beside the repository")
def test_ped2_is_stored_grey_and_delivered_as_opencv_reads_it(decode):
    paths = tuple(sorted((PED2 / "testing" / "frames" / "09").iterdir()))
    (video,) = decode(Source("09", paths, None), height=240, width=360)
    assert video.array.shape == (120, 240, 360, 1)
    for position in (0, 57, 119):
        np.testing.assert_array_equal(video.read(position), cv2.imread(str(paths[position])))

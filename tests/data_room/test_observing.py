"""Observers see every raw frame once, while it is decoded for something else."""

import dataclasses
import os

import cv2
import numpy as np
import pytest
from support import films

from vad_jax.data import frames as store
from vad_jax.data.grey import grey_frames
from vad_jax.data.source import Source
from vad_jax.types import DataError


@dataclasses.dataclass
class Keeper:
    """Keeps all that it sees; tells how many videos it was shown."""

    key: str = "keeper"
    started: list = dataclasses.field(default_factory=list)

    def start(self, name):
        self.started.append(name)
        return Kept()


class Kept:
    def __init__(self):
        self.seen = []

    def push(self, grey):
        self.seen.append(grey)

    def result(self):
        return {"frames": np.stack(self.seen), "number": np.int64(len(self.seen))}


class Counting(store.Decoded):
    """Counts the frames that are decoded."""

    number = 0

    def __iter__(self):
        for picture in super().__iter__():
            Counting.number += 1
            yield picture


@pytest.fixture
def decoded_frames(monkeypatch):
    monkeypatch.setattr(store, "Decoded", Counting)
    monkeypatch.setattr(Counting, "number", 0)
    return lambda: Counting.number


@pytest.fixture
def decode(tmp_path):
    def decode(source, *observers, height=8, width=12, channels=3, colour="bgr", **options):
        (video,) = store.decode(
            [source], height=height, width=width, channels=channels, colour=colour,
            cache=tmp_path / "cache", observers=observers, progress=False, **options,
        )  # fmt: skip
        return video

    return decode


@pytest.fixture
def grey_pictures(tmp_path):
    rng = np.random.default_rng(0)
    paths = tuple(tmp_path / f"{i}.png" for i in range(6))
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (16, 20), dtype=np.uint8))
    return Source("gate", paths, None)


@pytest.fixture
def film(tmp_path):
    rng = np.random.default_rng(1)
    pixels = np.kron(rng.integers(0, 256, (7, 8, 12, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)
    return Source("film", None, films.write(tmp_path / "a.avi", frames=7, pixels=pixels))


def damage(path):
    about = path.stat()
    path.write_bytes(b"no picture".ljust(about.st_size, b"\0"))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def kept_files(tmp_path):
    return list((tmp_path / "cache").glob("*/observed-*.npz"))


@pytest.mark.parametrize("kind", ["grey_pictures", "film"])
@pytest.mark.parametrize(("colour", "channels"), [("bgr", 3), ("rgb", 3), ("grey", 1)])
def test_an_observer_sees_the_frames_of_a_pass_over_grey_ones(
    decode, request, kind, colour, channels
):
    source = request.getfixturevalue(kind)
    video = decode(source, Keeper(), colour=colour, channels=channels)
    np.testing.assert_array_equal(video.observed["keeper"]["frames"], list(grey_frames(source)))


@pytest.mark.parametrize("bad", [(0, 1), (3,), (0, 2, 3, 5)])
def test_gaps_are_filled_for_observers_as_in_a_pass_over_grey_frames(decode, grey_pictures, bad):
    for position in bad:
        damage(grey_pictures.images[position])
    video = decode(grey_pictures, Keeper(), on_bad_frame="skip")
    seen = video.observed["keeper"]["frames"]
    np.testing.assert_array_equal(seen, list(grey_frames(grey_pictures)))
    assert (len(seen), video.broken) == (6, bad)
    first = min(set(range(6)) - set(bad))
    for position in range(6):
        good = max((i for i in range(position + 1) if i not in bad), default=first)
        expected = cv2.imread(str(grey_pictures.images[good]), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(seen[position], expected)


def test_each_raw_frame_is_decoded_once(decode, film, decoded_frames):
    observers = Keeper("one"), Keeper("two")
    first = decode(film, *observers)
    assert decoded_frames() == 7
    again = decode(film, *observers)
    assert decoded_frames() == 7, "all lies in the cache"
    assert [observer.started for observer in observers] == [["film"], ["film"]]
    for key in ("one", "two"):
        np.testing.assert_array_equal(first.observed[key]["frames"], again.observed[key]["frames"])


def test_an_entry_without_some_observations_gets_one_pass_for_all_of_them(
    decode, film, decoded_frames
):
    decode(film, Keeper("one"))
    assert decoded_frames() == 7
    one, two, three = Keeper("one"), Keeper("two"), Keeper("three")
    video = decode(film, one, two, three)
    assert decoded_frames() == 14
    assert (one.started, two.started, three.started) == ([], ["film"], ["film"])
    np.testing.assert_array_equal(
        video.observed["one"]["frames"], video.observed["three"]["frames"]
    )
    decode(film, two, three)
    assert decoded_frames() == 14


def test_entries_of_a_decoding_without_observers_stay_and_are_used(decode, film, tmp_path):
    plain = decode(film)
    assert plain.observed == {}
    (entry,) = (tmp_path / "cache").iterdir()
    before = (entry / "frames.npy").stat().st_mtime_ns
    observed = decode(film, Keeper())
    assert list((tmp_path / "cache").iterdir()) == [entry]
    assert (entry / "frames.npy").stat().st_mtime_ns == before
    assert observed.observed["keeper"]["number"] == 7


@pytest.mark.parametrize("colour", ["bgr", "rgb"])
def test_frames_are_the_same_bytes_with_and_without_observers(decode, film, tmp_path, colour):
    plain = decode(film, colour=colour)
    array, about = np.array(plain.array), dataclasses.replace(plain, array=None)
    for entry in (tmp_path / "cache").iterdir():
        (entry / "frames.npy").write_bytes(b"")  # damaged: it is decoded anew
    observed = decode(film, Keeper(), colour=colour)
    np.testing.assert_array_equal(observed.array, array)
    for field in ("broken", "source_size", "digest", "channels"):
        assert getattr(observed, field) == getattr(about, field)


def test_a_damaged_observation_is_made_anew_with_a_warning(decode, film, tmp_path, caplog):
    expected = decode(film, Keeper()).observed["keeper"]["frames"]
    (path,) = kept_files(tmp_path)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 255
    for content in (whole[: len(whole) // 2], bytes(changed), b""):
        caplog.clear()
        path.write_bytes(content)
        np.testing.assert_array_equal(decode(film, Keeper()).observed["keeper"]["frames"], expected)
        assert "Observing film again: what was kept is damaged" in caplog.text
    caplog.clear()
    decode(film, Keeper())
    assert not caplog.text


def test_an_observation_that_fails_leaves_nothing_half_written(decode, film, tmp_path):
    class Broken(Kept):
        def result(self):
            raise RuntimeError("no result")

    observer = Keeper()
    observer.start = lambda name: Broken()
    decode(film)
    with pytest.raises(RuntimeError, match="no result"):
        decode(film, observer)
    (entry,) = (tmp_path / "cache").iterdir()
    assert {path.name for path in entry.iterdir()} == {"frames.npy", "about.json"}


def test_a_video_that_has_changed_since_it_was_decoded_is_named(decode, grey_pictures, monkeypatch):
    decode(grey_pictures)
    shorter = dataclasses.replace(grey_pictures, images=grey_pictures.images[:4])
    decoded = store.Decoded
    monkeypatch.setattr(store, "Decoded", lambda source, **how: decoded(shorter, **how))
    with pytest.raises(DataError, match=r"Video gate has 4 frames, but had 6 when it was decoded"):
        decode(grey_pictures, Keeper())


def test_what_one_video_shows_does_not_reach_another(tmp_path):
    sources = []
    for name, number in (("a", 3), ("b", 5)):
        path = films.write(tmp_path / f"{name}.avi", frames=number)
        sources.append(Source(name, None, path))
    observer = Keeper()
    videos = store.decode(
        sources, height=8, width=8, channels=3, colour="bgr", cache=tmp_path / "cache",
        observers=[observer], progress=False,
    )  # fmt: skip
    assert [int(video.observed["keeper"]["number"]) for video in videos] == [3, 5]
    assert sorted(observer.started) == ["a", "b"]

"""Open files: few, whatever the number of videos, and a limit is called a limit."""

import errno
import os
import resource
import sys

import cv2
import numpy as np
import pytest

from vad_jax.data import cache, mapped, resident
from vad_jax.data import frames as store
from vad_jax.data.child import Child
from vad_jax.data.footage import Footage
from vad_jax.data.mapped import MappedFrames
from vad_jax.data.source import Source
from vad_jax.types import DataError, InputSpec

VIDEOS = 150


@pytest.fixture
def files(tmp_path):
    for number in range(VIDEOS):
        np.save(tmp_path / f"{number}.npy", np.full((3, 2, 2, 1), number, np.uint8))
    return [tmp_path / f"{number}.npy" for number in range(VIDEOS)]


@pytest.fixture
def few_files():
    """As many files as are open, and 90 more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 90, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_array_behaves_as_numpys(files):
    array, plain = MappedFrames(files[7]), np.load(files[7])
    assert (array.shape, array.dtype, array.ndim, len(array)) == ((3, 2, 2, 1), np.uint8, 4, 3)
    np.testing.assert_array_equal(array[1], plain[1])
    np.testing.assert_array_equal(array[np.array([[0, 2], [1, 1]])], plain[[[0, 2], [1, 1]]])
    np.testing.assert_array_equal(np.asarray(array), plain)


def test_many_videos_hold_few_files_open(files, few_files):
    arrays = [MappedFrames(path) for path in files]
    for _ in range(2):
        assert [int(array[2, 0, 0, 0]) for array in arrays] == list(range(VIDEOS))
    before = len(os.listdir("/proc/self/fd"))
    assert mapped._open.cache_info().currsize <= mapped.MOST
    assert before < resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_resident_store_reads_many_videos(files, few_files):
    class Video:
        def __init__(self, path):
            self.name, self.array, self.broken = path.name, MappedFrames(path), ()

        def __len__(self):
            return len(self.array)

    spec = InputSpec(
        frames=2, sees=(0,), target=1, scored=(1,), stride=1, step=1, lead=0, tail="drop",
        height=2, width=2, channels=1, colour="grey", range=(-1.0, 1.0),
    )  # fmt: skip
    feed = resident.feed(Footage([Video(path) for path in files]), spec)
    assert feed.store["frames"].shape == (3 * VIDEOS, 2, 2, 1)
    np.testing.assert_array_equal(feed.store["frames"][:, 0, 0, 0], np.repeat(range(VIDEOS), 3))


def test_a_file_written_anew_is_read_anew(tmp_path):
    path = tmp_path / "a.npy"
    for value in (1, 2):
        np.save(tmp_path / "new.npy", np.full((1, 2), value, np.uint8))
        os.replace(tmp_path / "new.npy", path)
        assert MappedFrames(path)[0, 0] == value


def test_a_limit_is_called_a_limit_and_nothing_is_deleted(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((4, 4), np.uint8))
    source = Source("a", (tmp_path / "0.png",), None)

    def decode():
        return store.decode(
            [source],
            height=4,
            width=4,
            channels=1,
            colour="grey",
            cache=tmp_path / "cache",
            progress=False,
        )

    decode()
    (entry,) = (tmp_path / "cache").iterdir()

    def full(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    mapped._open.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(mapped.np, "load", full)
        with pytest.raises(DataError, match=r"Too many open files: this process may open \d+ at"):
            decode()
    assert (entry / "frames.npy").is_file()
    with monkeypatch.context() as patch:
        patch.setattr(cache.Path, "read_text", full)
        with pytest.raises(DataError, match="Nothing is damaged or lost: raise the limit"):
            decode()
    assert (entry / "frames.npy").is_file()
    decode()


def test_a_child_that_cannot_be_started_names_the_limit(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("subprocess.Popen", full)
    with pytest.raises(DataError, match=r"Too many open files: .*ulimit -n"):
        Child("json.tool", most_bytes=1, environment={})


def test_without_the_modules_of_unix_reading_goes_on_or_says_why(monkeypatch):
    from vad_jax.data import child, limits

    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    limits.memory(1 << 20)  # no limit there: this process lives on
    child._widen(0)
    monkeypatch.delattr(os, "readv")
    with pytest.raises(DataError, match=r"needs Linux or macOS.*WSL"):
        Child("json.tool", most_bytes=1, environment={})

"""Kinds of rows: the same draws as ever, and a fifth kind that is this file alone.

Its row is an object: one entry of the ragged table `objects`, with the window of frames that it is
in the middle of, and what a teacher says of each of these frames.
"""

import dataclasses
import hashlib
from typing import ClassVar

import jax
import numpy as np
import pytest
from support.footage import frames_of, lengths_alone

from vad_jax.data.backends import open_feed
from vad_jax.data.footage import Footage, Table
from vad_jax.data.rows import Rows, kind, pack, whole_batches
from vad_jax.data.spans import frame_indices
from vad_jax.types import EpisodeSpec, InputSpec

SPEC = InputSpec(
    frames=3,
    sees=(0, 1),
    target=2,
    scored=(2,),
    height=4,
    width=5,
    channels=1,
    colour="grey",
    lead=1,
)
DRAWS = {  # of runs that were begun with an earlier version and go on with this one; NumPy 2.4
    "windows": (SPEC, "3b55435ea4aa6668"),
    "segments": (dataclasses.replace(SPEC, segments=32), "fc81e11ef0108419"),
    "episodes": (dataclasses.replace(SPEC, row=EpisodeSpec(2, 3)), "71625a4e81cf2721"),
    "episodes of segments": (
        dataclasses.replace(SPEC, row=EpisodeSpec(2, 1, segments=32)),
        "e3fecd6f74171b54",
    ),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_draws_are_those_of_earlier_versions(name):
    spec, expected = DRAWS[name]
    videos = lengths_alone([120, 45, 260, 3], [(7, 90), (), (33,), ()])
    rows, _ = kind(spec).batches(spec, videos, batch_size=4, seed=3, epoch=2)
    ordered, _ = kind(spec).in_order(spec, videos, batch_size=4)
    assert hashlib.sha256(rows.tobytes() + ordered.tobytes()).hexdigest()[:16] == expected


@dataclasses.dataclass(frozen=True)
class ObjectSpec:
    """A row that is an object of at least so many pixels."""

    smallest: int

    rows: ClassVar[str] = __name__


def objects(spec, footage):
    """Every object in the middle of a whole window: video, first frame, entry of the table."""
    table, found = footage.tables["objects"], [np.empty((0, 3), np.int32)]
    for video, (frames, sizes) in enumerate(zip(table.frames, table.values, strict=True)):
        first = frames - spec.span // 2
        inside = (first >= 0) & (first + spec.span <= footage.lengths[video])
        lost = np.isin(frame_indices(spec, first), footage.broken[video]).any(axis=1)
        (entry,) = np.nonzero(inside & ~lost & (sizes[:, 0] >= spec.row.smallest))
        found.append(np.stack([np.full_like(entry, video), first[entry], entry], axis=1))
    return np.concatenate(found).astype(np.int32)


def batches(spec, footage, *, batch_size, seed, epoch):
    rng = np.random.default_rng([seed, epoch])
    return whole_batches(rng.permutation(objects(spec, footage)), batch_size)


def in_order(spec, footage, *, batch_size):
    return pack(objects(spec, footage), batch_size)


def fits(spec, footage, video):
    return bool((objects(spec, footage)[:, 0] == video).any())


def need(spec):
    return f"an object of {spec.row.smallest} pixels in the middle of {spec.span} whole frames"


def indices(spec, footage, rows):
    frames = frame_indices(spec, rows[:, 1])
    return {"frames": frames, "objects": rows[:, 2], "teacher": frames[:, spec.lead :]}


def batch(spec, taken, rows, mask):
    return {
        "crops": taken["frames"],
        "size": taken["objects"][:, 0],
        "teacher": taken["teacher"],
        "mask": mask,
        "video": rows[:, 0],
        "frame": rows[:, 1],
    }


ROWS = Rows(batches, in_order, fits, need, indices, batch, lambda spec: None)
OBJECTS = dataclasses.replace(SPEC, row=ObjectSpec(smallest=10))


@pytest.fixture(scope="module")
def footage():
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 256, (n, 4, 5, 1), dtype=np.uint8) for n in (12, 2, 9)]
    broken = [(), (), (1,)]
    videos = [frames_of(array, str(i), broken=broken[i]) for i, array in enumerate(arrays)]
    frames = [np.array([0, 3, 3, 6, 11]), np.array([1]), np.array([2, 5, 5, 5])]
    sizes = [np.array([50, 50, 9, 11, 50]), np.array([50]), np.array([50, 60, 70, 8])]
    return Footage(
        videos,
        {
            "objects": Table([size[:, None].astype(np.int32) for size in sizes], frames),
            "teacher": Table([random.random((len(a), 2, 3), np.float32) for a in arrays]),
            "unused": Table([np.zeros((len(a), 7)) for a in arrays]),
        },
    )


def test_a_kind_of_row_says_which_videos_it_fits(footage):
    found = kind(OBJECTS)
    assert [found.fits(OBJECTS, footage, video) for video in range(3)] == [True, False, True]
    assert found.need(OBJECTS) == "an object of 10 pixels in the middle of 3 whole frames"
    rows, mask = found.in_order(OBJECTS, footage, batch_size=3)
    assert rows[mask].tolist() == [[0, 2, 1], [0, 5, 3], [2, 4, 1], [2, 4, 2]]


def test_both_backends_gather_frames_and_tables_of_a_fifth_kind(footage):
    found = kind(OBJECTS)
    for rows, mask in (
        found.in_order(OBJECTS, footage, batch_size=3),
        found.batches(OBJECTS, footage, batch_size=3, seed=0, epoch=1),
    ):
        streamed, resident = (given(backend, footage, rows, mask) for backend in BACKENDS)
        assert len(streamed) == len(resident) == len(rows)
        for one, other, some, own in zip(streamed, resident, rows, mask, strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                assert value.dtype == other[name].dtype, name
                np.testing.assert_array_equal(value, other[name], err_msg=name)
            np.testing.assert_array_equal(one["mask"], own)
            check(footage, one, some)


BACKENDS = ("tf", "resident")


def given(backend, footage, rows, mask):
    feed = open_feed(backend, footage, OBJECTS)
    gather = jax.jit(feed.gather)
    return [jax.device_get(gather(feed.store, item)) for item in feed.items(rows, mask)]


def check(footage, batch, rows):
    for place, (video, first, entry) in enumerate(rows):
        frames = footage.videos[video].array
        np.testing.assert_array_equal(batch["crops"][place, 1:], frames[first : first + 3])
        np.testing.assert_array_equal(batch["crops"][place, 0], frames[max(first - 1, 0)])
        assert batch["size"][place] == footage.tables["objects"].values[video][entry, 0]
        said = footage.tables["teacher"].values[video][first : first + 3]
        np.testing.assert_array_equal(batch["teacher"][place], said)


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_what_a_kind_names_is_gathered(footage, backend):
    rows, mask = kind(OBJECTS).in_order(OBJECTS, footage, batch_size=2)
    item = next(open_feed(backend, footage, OBJECTS).items(rows, mask))
    inner = item["taken" if backend == "tf" else "index"]
    assert inner.keys() == {"frames", "objects", "teacher"}


def test_a_row_that_reaches_beyond_its_video_is_an_error(footage):
    rows = np.array([[[0, 2, 1], [1, 0, 1]]], np.int32)  # video 1 has one object
    items = open_feed("resident", footage, OBJECTS).items(rows, np.ones((1, 2), bool))
    with pytest.raises(IndexError, match=r"Row \[1, 0, 1\] takes frames \[0, 0, 1, 2\] of 2"):
        next(items)

"""tf.data and resident frames give identical batches."""

import dataclasses

import jax
import numpy as np
import pytest
from support.footage import frames_of

from vad_jax.data import rows as kinds
from vad_jax.data import spans, windows
from vad_jax.data.backends import open_feed
from vad_jax.data.footage import Footage
from vad_jax.types import EpisodeSpec, InputSpec

SPEC = InputSpec(
    frames=3, sees=(0, 1), target=2, scored=(2,), height=6, width=8, channels=3, colour="bgr"
)


def footage(channels, stored, times=1):
    rng = np.random.default_rng(0)
    arrays = [
        np.tile(rng.integers(0, 256, (length, 6, 8, stored[i]), dtype=np.uint8), (times, 1, 1, 1))
        for i, length in enumerate((9, 7))
    ]
    return Footage([frames_of(a, str(i), channels=channels) for i, a in enumerate(arrays)])


@pytest.mark.parametrize(
    ("channels", "stored"), [(1, (1, 1)), (3, (3, 3)), (3, (1, 1)), (3, (1, 3))]
)
@pytest.mark.parametrize("lead", [0, 1])
def test_both_backends_give_identical_batches(channels, stored, lead):
    spec = dataclasses.replace(SPEC, channels=channels, lead=lead)
    videos = footage(channels, stored)
    order = windows.in_order(spec, videos, batch_size=5)
    shuffled = windows.batches(spec, videos, batch_size=5, seed=1, epoch=2)
    for rows, mask in (order, shuffled):
        batches = []
        for backend in ("tf", "resident"):
            feed = open_feed(backend, videos, spec)
            gather = jax.jit(feed.gather)
            batches.append([jax.device_get(gather(feed.store, i)) for i in feed.items(rows, mask)])
        assert len(batches[0]) == len(batches[1]) == len(rows)
        for streamed, resident in zip(*batches, strict=True):
            assert streamed.keys() == resident.keys() == {"frames", "mask", "video", "frame"}
            for name, value in streamed.items():
                assert value.dtype == resident[name].dtype, name
                np.testing.assert_array_equal(value, resident[name], err_msg=name)


@pytest.mark.parametrize("segments", [0, 32])
def test_both_backends_give_identical_episodes(segments):
    episode = EpisodeSpec(support=2, query=2, segments=segments)
    spec = dataclasses.replace(SPEC, row=episode, channels=1, lead=1)
    videos = footage(1, (1, 1), times=20 if segments else 1)
    kind = kinds.kind(spec)
    shuffled = kind.batches(spec, videos, batch_size=3, seed=1, epoch=2)
    for rows, mask in (kind.in_order(spec, videos, batch_size=3), shuffled):
        batches = []
        for backend in ("tf", "resident"):
            feed = open_feed(backend, videos, spec)
            gather = jax.jit(feed.gather)
            batches.append([jax.device_get(gather(feed.store, i)) for i in feed.items(rows, mask)])
        assert len(batches[0]) == len(batches[1]) == len(rows) > 0
        for row, streamed, resident in zip(rows, *batches, strict=True):
            assert streamed.keys() == resident.keys()
            for name, value in streamed.items():
                assert value.dtype == resident[name].dtype, name
                np.testing.assert_array_equal(value, resident[name], err_msg=name)
            index = spans.frame_indices(spec, row[:, 1:])
            for video, first, windows_of, there in zip(
                row[:, 0], index, streamed["support"], streamed["support_mask"], strict=True
            ):
                expected = videos.videos[video].array[first[:2]]
                np.testing.assert_array_equal(windows_of[there], expected[there])


def test_a_position_in_an_epoch_is_the_rows_left_out_in_front():
    videos = footage(1, (1, 1))
    spec = dataclasses.replace(SPEC, channels=1)
    rows, mask = windows.batches(spec, videos, batch_size=2, seed=0, epoch=0)
    feed = open_feed("tf", videos, spec)
    whole = list(feed.items(rows, mask))
    later = list(feed.items(rows[2:], mask[2:]))
    for a, b in zip(whole[2:], later, strict=True):
        np.testing.assert_array_equal(a["taken"]["frames"], b["taken"]["frames"])


def test_grey_frames_stay_one_channel_on_the_device():
    feed = open_feed("resident", footage(3, (1, 1)), SPEC)
    assert feed.store["frames"].shape == (16, 6, 8, 1)
    assert feed.store["frames"].dtype == np.uint8

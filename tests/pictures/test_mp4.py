"""A film that browsers play, with a time of its own for each frame."""

import av
import numpy as np
import pytest

from vad_jax.pictures.mp4 import Mp4

TIMES = np.r_[np.arange(5) / 5, 1 + np.arange(20) / 30]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    with Mp4(path, (32, 64)) as film:
        for number, seconds in enumerate(TIMES):
            film.write(np.full((32, 64, 3), 10 * number, np.uint8), seconds)
        film.close()
    return path


def test_each_frame_is_seen_at_its_time(film):
    with av.open(str(film)) as container:
        frames = list(container.decode())
        lasts = float(container.duration / av.time_base)
    np.testing.assert_allclose([frame.time for frame in frames], TIMES, atol=1e-4)
    assert lasts == pytest.approx(TIMES[-1] + 1 / 30, abs=1e-3), "the last one as long as another"
    grey = [frame.to_ndarray(format="gray").mean() for frame in frames]
    assert np.all(np.diff(grey) > 5), "in their order"


def test_it_is_what_browsers_play_before_they_have_all_of_it(film):
    with av.open(str(film)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt, codec.has_b_frames) == ("h264", "yuv420p", False)
    data = film.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"elst" not in data or data[data.index(b"elst") + 11] == 1, "no edit but the whole"

"""When the frames of films are seen."""

import cv2
import numpy as np
from support import films

from vad_jax.data.source import Source
from vad_jax.datasets import open_dataset
from vad_jax.datasets.clock import Clock, times


def film(path, **options):
    return Source(path.stem, None, films.write(path, **options))


def test_times_are_the_films_own(tmp_path):
    source = film(tmp_path / "a.mp4", frames=140, fps=17.5)
    unit = films.units_a_second(source.file)
    steps = [unit // 5] * 20 + [unit // 30] * 120
    films.with_times(source.file, steps)
    expected = np.cumsum([0, *steps[:-1]]) / unit
    np.testing.assert_allclose(times(source), expected, atol=1e-6)


def test_a_folder_of_frames_has_no_times(tmp_path):
    (tmp_path / "v").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "v" / f"{number}.png"), np.zeros((8, 8), np.uint8))
    films.write(tmp_path / "film.avi", frames=4, fps=10.0)
    clock = open_dataset("folder", tmp_path).times
    assert list(clock) == ["film"]
    assert "v" not in clock
    assert clock.get("v") is None
    np.testing.assert_allclose(clock["film"], np.arange(4) / 10, atol=1e-6)


def test_a_film_is_decoded_once_and_only_when_it_is_asked_for(tmp_path):
    clock = Clock((film(tmp_path / "a.avi"), film(tmp_path / "b.avi")))
    (tmp_path / "b.avi").unlink()
    first = clock["a"]
    (tmp_path / "a.avi").unlink()
    assert clock["a"] is first

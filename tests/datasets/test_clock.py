"""When the frames of films are seen."""

import cv2
import numpy as np
import pytest
from support import films

from vad_jax.data.decoder import Picture
from vad_jax.data.source import Source
from vad_jax.datasets import clock, open_dataset
from vad_jax.datasets.clock import Clock, times
from vad_jax.evaluation import read_labels
from vad_jax.types import DataError


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
    found = open_dataset("folder", tmp_path).times
    assert list(found) == ["film"]
    assert "v" not in found
    assert found.get("v") is None
    np.testing.assert_allclose(found["film"], np.arange(4) / 10, atol=1e-6)


def test_a_film_is_decoded_once_and_only_when_it_is_asked_for(tmp_path):
    kept = Clock((film(tmp_path / "a.avi"), film(tmp_path / "b.avi")))
    (tmp_path / "b.avi").unlink()
    first = kept["a"]
    (tmp_path / "a.avi").unlink()
    assert kept["a"] is first


@pytest.mark.parametrize("bad", [{0}, {3}, {7}, {0, 1, 6, 7}])
def test_broken_frames_are_put_where_they_would_be(tmp_path, monkeypatch, bad):
    def decoded(source, **options):
        for place in range(8):
            yield DataError("broken") if place in bad else Picture(None, 2 + place / 10, (1, 1))

    monkeypatch.setattr(clock, "Decoded", decoded)
    found = times(Source("a", None, tmp_path / "a.avi"))
    np.testing.assert_allclose(found, 2 + np.arange(8) / 10)


def test_a_rate_that_is_given_does_not_move_the_films_own_times_and_this_is_said(tmp_path):
    (tmp_path / "testing").mkdir()
    film(tmp_path / "testing" / "a.mp4", frames=40, fps=20.0)
    (tmp_path / "labels.csv").write_text("video,start,end\na,1s,2s\n")
    for fps, said in ((None, False), (20.0, False), (10.0, True)):
        dataset = open_dataset("folder", tmp_path, fps=fps)
        assert any("10 frames a second are given" in note for note in dataset.notes) == said
        labels = read_labels(
            dataset.labels, {"a": 40}, fps={"a": dataset.fps}, times=dataset.times
        ).values["a"]
        assert np.flatnonzero(labels)[0] == 20

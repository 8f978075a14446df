"""Which videos of a set are trained on: normal ones alone, unless told otherwise."""

import unicodedata

import ml_collections
import pytest
from support import films

from vad_jax.datasets import splits
from vad_jax.types import ConfigError, DataError, InputSpec

SPEC = InputSpec(
    frames=3, sees=(0, 1), target=2, scored=(2,), height=8, width=8, channels=3, colour="bgr"
)
NORMAL = ("Normal_Videos001_x264", "Normal_Videos002_x264")
ANOMALOUS = ("Abuse001_x264", "Abuse002_x264", "Arson003_x264")
SAID = "3 anomalous training videos (2 Abuse, 1 Arson)"


@pytest.fixture
def trained(tmp_path):
    """A function that splits a small UCF-Crime: names trained on, names held out."""

    def trained(listed=(*ANOMALOUS[:2], *NORMAL, ANOMALOUS[2]), **changes):
        root = tmp_path / "ucf"
        root.mkdir(exist_ok=True)
        for name in (*listed, "Robbery004_x264"):
            films.write(root / f"{name}.avi", frames=4)
        (root / "Anomaly_Train.txt").write_text("\n".join(f"{name}.avi" for name in listed))
        (root / "Anomaly_Test.txt").write_text("Robbery004_x264.avi\n")
        given = {"name": "ucf_crime", "root": str(root), "cache": str(tmp_path / "cache")}
        given |= {"labels": None, "exclude": None, "on_bad_frame": "error", "validation": ()}
        settings = ml_collections.ConfigDict({**given, "videos": "normal", "levels": (), **changes})
        parts = splits.training(splits.find(settings), settings, SPEC)
        return tuple([video.name for video in part] for part in parts)

    return trained


def test_normal_videos_alone_are_trained_on_and_the_others_are_counted_by_class(trained, caplog):
    assert trained() == (list(NORMAL), [])
    (line,) = [line for line in caplog.messages if "left out" in line]
    assert SAID in line
    assert "--config.data.videos=all" in line


def test_all_videos_are_trained_on_where_one_says_so(trained, caplog):
    training, held_out = trained(videos="all", validation=(ANOMALOUS[0],))
    assert set(training) == {*NORMAL, *ANOMALOUS[1:]}
    assert held_out == [ANOMALOUS[0]]
    assert "left out" not in caplog.text


def test_a_normal_video_may_be_held_out(trained):
    assert trained(validation=(NORMAL[1],)) == ([NORMAL[0]], [NORMAL[1]])


def test_an_anomalous_video_that_is_held_out_is_named(trained):
    with pytest.raises(ConfigError, match="names anomalous videos: Abuse002_x264, Arson003_x264"):
        trained(validation=(NORMAL[0], ANOMALOUS[2], ANOMALOUS[1]))


def test_a_set_without_a_normal_video_is_named_with_the_remedy(trained):
    with pytest.raises(DataError) as error:
        trained(ANOMALOUS)
    assert "ucf_crime at " in str(error.value)
    assert f"has no normal training video, but {SAID}" in str(error.value)
    assert "--config.data.videos=all" in str(error.value)


def test_a_held_out_name_may_write_its_accents_in_two_ways(tmp_path):
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    for name in (apart, "b"):
        (tmp_path / "training").mkdir(exist_ok=True)
        films.write(tmp_path / "training" / f"{name}.avi", frames=4)
    given = {"name": "folder", "root": str(tmp_path), "cache": str(tmp_path / "cache")}
    given |= {
        "labels": None,
        "exclude": None,
        "on_bad_frame": "error",
        "videos": "normal",
        "levels": (),
    }
    for asked in (composed, apart):
        settings = ml_collections.ConfigDict({**given, "validation": (asked,)})
        parts = splits.training(splits.find(settings), settings, SPEC)
        assert [[video.name for video in part] for part in parts] == [["b"], [composed]]

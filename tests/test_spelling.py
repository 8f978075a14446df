"""Names compared by their letters, whatever their bytes; numbers of things."""

import unicodedata

import pytest

from vad_jax.spelling import composed, counted, lying, natural

TWO_FORMS = tuple(unicodedata.normalize(form, "Straße_é_ö") for form in ("NFC", "NFD"))


def test_names_that_look_alike_are_one():
    assert TWO_FORMS[0] != TWO_FORMS[1]
    assert {composed(name) for name in TWO_FORMS} == {TWO_FORMS[0]}


@pytest.mark.parametrize("there", TWO_FORMS)
@pytest.mark.parametrize("asked", TWO_FORMS)
def test_an_entry_is_found_however_its_accents_are_written(tmp_path, there, asked):
    (tmp_path / there).mkdir()
    (tmp_path / there / f"{there}.npy").write_bytes(b"x")
    assert lying(tmp_path, f"{asked}/{asked}.npy").read_bytes() == b"x"


def test_where_there_is_no_entry_the_name_is_kept(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert lying(folder, "é/a.npy") == folder / "é" / "a.npy"


def test_digits_are_numbers():
    assert sorted(["10", "9", "1", "a2", "a10"], key=natural) == ["1", "9", "10", "a2", "a10"]
    assert natural("001") == natural("1")


def test_one_thing_is_no_plural():
    assert [counted(n, "frame") for n in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]

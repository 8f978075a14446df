"""Files that are something else than their names say are called by what they are."""

import pickle

import numpy as np
import pytest

from vad_jax.disguise import check_file, disguise_of, disguised
from vad_jax.types import DataError

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (POINTER, "a Git LFS pointer"),
        (b"\n<!DOCTYPE HTML><title>404</title>", "a web page"),
        (b"<html lang='en'>", "a web page"),
        *((pickle.dumps([0, 1], protocol), "a pickle") for protocol in range(2, 6)),
    ],
)
def test_what_a_file_is_and_what_to_do_is_said(tmp_path, content, what):
    (tmp_path / "labels.npy").write_bytes(content)
    with pytest.raises(DataError, match=rf"labels\.npy is (.* but )?{what}.*[:,] .*"):
        check_file(tmp_path / "labels.npy")


def test_an_array_of_objects_is_a_pickle(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}, None], object), allow_pickle=True)
    assert "a pickle" in disguise_of(tmp_path / "o.npy")


def test_other_files_are_what_they_say(tmp_path):
    np.save(tmp_path / "plain.npy", np.zeros(4))
    (tmp_path / "labels.csv").write_text("video,start,end\n")
    for name in ("plain.npy", "labels.csv", "none"):
        assert disguise_of(tmp_path / name) is None
    assert disguised(b"") is disguised(b"\xff\xd8\xff\xe0") is disguised(b"\x89PNG\r\n") is None

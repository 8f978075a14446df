"""Files of other frameworks: what they hold comes in, nothing in them is run."""

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest

from vad_jax.interop.tensors import read, read_memory
from vad_jax.types import DataError

ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.count": np.array(3, np.int64),
}


class Trap:
    """Pickled, it writes a file where it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def npz(path):
    np.savez(path, **ARRAYS)


def safetensors(path):
    from safetensors.numpy import save_file

    save_file(ARRAYS, path)


def pt(path):
    torch = pytest.importorskip("torch")
    torch.save({name: torch.tensor(array) for name, array in ARRAYS.items()}, path)


@pytest.mark.parametrize("write", [npz, safetensors, pt])
def test_names_values_and_dtypes_come_back(tmp_path, write):
    path = tmp_path / f"state.{write.__name__}"
    write(path)
    found = read(path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_the_prefix_of_data_parallel_and_a_wrapper_are_taken_off(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {f"module.{name}": torch.tensor(array) for name, array in ARRAYS.items()}
    torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "a.pth")
    assert read(tmp_path / "a.pth").keys() == ARRAYS.keys()


def test_bfloat16_becomes_float32(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt")["w"].dtype == np.float32


def test_a_pickled_module_is_refused_with_the_way_to_convert_it(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    said = r"pickled module, and is not read.*load\('model.pth'.*state_dict\(\), 'state_dict.pt'"
    with pytest.raises(DataError, match=said):
        read(tmp_path / "model.pth")


@pytest.mark.parametrize("suffix", ["pt", "npz", "npy"])
def test_no_code_of_a_file_is_run(tmp_path, suffix):
    path, sprung = tmp_path / f"a.{suffix}", tmp_path / "sprung"
    trap = np.array([Trap(sprung)], object)
    if suffix == "pt":
        pytest.importorskip("torch").save({"w": Trap(sprung)}, path)
    elif suffix == "npz":
        np.savez(path, w=trap)
    else:
        np.save(path, trap, allow_pickle=True)
    with pytest.raises(DataError, match=r"not read|Python objects"):
        read(path)
    path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(DataError):
        read(path)
    assert not sprung.exists()


def header(shape):
    file = io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    return file.getvalue()


@pytest.mark.parametrize(
    ("shape", "said"), [((1 << 20, 1 << 20), "more than 8 GB"), ((1000, 1000), "is shorter than")]
)
def test_a_bomb_is_refused_from_its_header(tmp_path, shape, said):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", header(shape) + bytes(64))
    with pytest.raises(DataError, match=said):
        read(tmp_path / "a.npz")
    (tmp_path / "a.npy").write_bytes(header(shape) + bytes(64))
    with pytest.raises(DataError, match="is shorter than its header says"):
        read(tmp_path / "a.npy")


def test_every_flipped_byte_is_named_or_harmless(tmp_path):
    """Damage may be noticed or not; it is never a traceback of some library."""
    np.savez_compressed(tmp_path / "a.npz", **ARRAYS)
    whole = (tmp_path / "a.npz").read_bytes()
    noticed = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (tmp_path / "a.npz").write_bytes(damaged)
        try:
            read(tmp_path / "a.npz")
        except DataError:
            noticed += 1
    assert noticed > len(whole) / 6


def test_a_tensor_that_stands_for_more_than_it_stores_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.zeros(1).expand(1 << 20, 1 << 12)}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="more than 8 GB"):
        read(tmp_path / "a.pt")
    torch.save({"w": torch.eye(2).to_sparse()}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="save dense tensors"):
        read(tmp_path / "a.pt")
    torch.save({1: torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="1 is no name of a tensor"):
        read(tmp_path / "a.pt")


def test_a_safetensors_header_that_lies_is_refused(tmp_path):
    text = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1600]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(DataError, match="is no safetensors file"):
        read(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.safetensors", "a.pt"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x80\x02 no pickle"])
def test_a_foreign_file_is_named(tmp_path, name, content):
    if name.endswith("pt"):
        pytest.importorskip("torch")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        read(tmp_path / name)


@pytest.mark.parametrize(("name", "said"), [("b.npz", "There is no file"), ("a.txt", "expected")])
def test_what_is_missing_or_of_another_kind_is_named(tmp_path, name, said):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match=said):
        read(tmp_path / name)


def test_memory_items_are_the_one_matrix_of_a_file(tmp_path):
    np.save(tmp_path / "items.npy", np.ones((10, 4)))
    assert read_memory(tmp_path / "items.npy").shape == (10, 4)
    np.savez(tmp_path / "two.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    with pytest.raises(DataError, match="holds 2 arrays of two dimensions"):
        read_memory(tmp_path / "two.npz")


def test_the_authors_file_of_items_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.ones(10, 4), tmp_path / "keys.pt")
    assert read_memory(tmp_path / "keys.pt").shape == (10, 4)

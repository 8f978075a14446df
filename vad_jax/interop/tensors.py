"""Tensors that others saved: `.npz`, `.safetensors`, or `.pt` read by torch's `weights_only`.

No file is unpickled: a pickle runs the code of whoever wrote it.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vad_jax.types import DataError

MAX_BYTES = 8 << 30  # of all arrays of a file, by its headers
_TORCH = (".pt", ".pth", ".bin", ".ckpt")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")

CONVERT = (
    "Where the code that made it can be imported, and you trust the file, write its tensors alone: "
    "python -c \"import torch; m = torch.load('{name}', weights_only=False, map_location='cpu'); "
    "torch.save(getattr(m, 'module', m).state_dict(), 'state_dict.pt')\""
)


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file by name, in its own layout and dtype.

    A single tensor has the name "". The prefix `module.` of DataParallel is taken off where every
    name has it, and so is a wrapper such as `{"state_dict": …}`.

    Args:
      path: `.npz`, `.npy`, `.safetensors` (needs safetensors), or `.pt` / `.pth` (needs torch).

    Raises:
      DataError: no such file, another kind of file, a damaged one, a pickle, or sizes beyond 8 GB.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    kinds = {".npz": _npz, ".npy": _npy, ".safetensors": _safetensors}
    kinds |= dict.fromkeys(_TORCH, _torch)
    reader = kinds.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: expected one of {' '.join(kinds)}.")
    try:
        return _plain(reader(path), path)
    except DataError:
        raise
    except Exception as error:  # damaged files make the libraries raise a dozen kinds
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}).") from None


def read_memory(path: str | Path) -> np.ndarray:
    """The items `[M, C]` of a memory: the one two-dimensional array of a file.

    Raises:
      DataError: as `read`, or none or several such arrays.
    """
    flat = {name: array for name, array in read(path).items() if array.ndim == 2}
    if len(flat) != 1:
        raise DataError(
            f"{path} holds {len(flat)} arrays of two dimensions; memory items are one, [M, C]."
        )
    return next(iter(flat.values()))


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_npz(path, archive)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} cannot be read as .npz without pickles: {error}.") from None


def _check_npz(path: Path, archive: zipfile.ZipFile) -> None:
    """Compares what the arrays' headers and the zip's say before any array is made."""
    sizes = 0
    for member in archive.infolist():
        with archive.open(member) as file:
            shape, dtype = _header(file)
        if dtype.hasobject:
            raise DataError(f"{path}: {member.filename} holds Python objects. Save arrays alone.")
        sizes += math.prod(shape) * dtype.itemsize
        if sizes > MAX_BYTES:
            raise DataError(f"{path}: its arrays have more than {MAX_BYTES >> 30} GB.")
        if math.prod(shape) * dtype.itemsize > member.file_size:
            raise DataError(f"{path}: {member.filename} is shorter than its header says.")


def _npy(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            shape, dtype = _header(file)
        if dtype.hasobject:
            raise DataError(f"{path} holds Python objects. Save an array of numbers.")
        if math.prod(shape) * dtype.itemsize > min(path.stat().st_size, MAX_BYTES):
            raise DataError(f"{path} is shorter than its header says, or beyond 8 GB.")
        return {"": np.load(path, allow_pickle=False)}
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read as .npy: {error}.") from None


def _header(file) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"array format {version} is not known")
    shape, _, dtype = readers[version](file)
    return shape, dtype


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        import safetensors
        from safetensors.numpy import load_file
    except ImportError:
        raise DataError(f"{path}: pip install safetensors to read it.") from None
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} has more than {MAX_BYTES >> 30} GB.")
    try:
        return load_file(path)
    except (safetensors.SafetensorError, ValueError, TypeError, OSError) as error:
        raise DataError(f"{path} is no safetensors file that NumPy can hold: {error}.") from None


def _torch(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise DataError(
            f"{path}: PyTorch reads it (pip install torch). Or save it where it was made as .npz: "
            "np.savez(file, **{k: v.numpy() for k, v in state_dict.items()})."
        ) from None
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        raise DataError(
            f"PyTorch {torch.__version__} is not safe with files of others (CVE-2025-32434): 2.6 "
            "or newer."
        )
    import pickle

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path} holds more than tensors, most likely a pickled module, and is not read: that "
            f"would run code from the file. {CONVERT.format(name=path.name)}"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged or no file of torch.save: {error}.") from None


def _plain(found: Any, path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, wrappers and the prefix of DataParallel taken off."""
    if not isinstance(found, Mapping):
        found = {"": found}
    inner = [found[key] for key in _WRAPPERS if isinstance(found.get(key), Mapping)]
    if len(inner) == 1:
        found = inner[0]
    arrays = {}
    sizes = 0
    for name, value in found.items():
        if not isinstance(name, str):
            raise DataError(f"{path}: {name!r} is no name of a tensor: save a state dict.")
        if hasattr(value, "numel") and str(value.layout) != "torch.strided":
            raise DataError(f"{path}: {name} is {value.layout}: save dense tensors.")
        if hasattr(value, "numel"):  # one stored number may stand for many
            sizes += value.numel() * max(value.element_size(), 4)
            if sizes > MAX_BYTES:
                raise DataError(f"{path}: its tensors have more than {MAX_BYTES >> 30} GB.")
        if hasattr(value, "detach"):  # torch's
            value = value.detach()
            value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
        if not isinstance(value, np.ndarray):
            raise DataError(f"{path}: {name!r} is a {type(value).__name__}, not a tensor.")
        arrays[name] = value
    if all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays

"""Pixel masks of the test frames: which pixels are anomalous.

They come as a folder of images a video (UCSD's `VIDEO_gt/NAME.bmp`, else `VIDEO/NAME.png`), as one
array `[F, H, W]` a video (ShanghaiTech's `VIDEO.npy`), or as a MATLAB cell of F masks a video
(Avenue's `1_label.mat`, whose numbers have no leading zero).

Masks have two values: 0, and one other where it is anomalous. JPEG blurs their edges, and there
the pixels count that lie nearer to white than to black. With more values in any other form nobody
can say which pixels count: such masks tell frames, where one pixel is enough, and no pixels.

Source: datasets.md (UCSD Ped1 and Ped2; CUHK Avenue; ShanghaiTech; the generic folder).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vad_jax.disguise import check_file
from vad_jax.spelling import counted, lying, natural
from vad_jax.types import DataError

ADVICE = (
    "Labels count every frame of the raw video: check that no frame file is missing, "
    "or choose another file with data.labels."
)
IMAGES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")
CELLS = "volLabel"  # the variable of Avenue's files
WHITE = 128  # from which on a pixel of a JPEG mask counts
NOISE = 16  # up to which an empty one has grey levels
JPEG = b"\xff\xd8"  # begins its files


class MaskFacts(NamedTuple):
    """What the masks of one video are like, as they are stored.

    Attributes:
      labels: `[F]` uint8, 1 where a mask has a pixel that counts.
      sizes: (height, width) → the first frame of that size.
      values: value of a pixel, its highest channel → the first frame that holds it.
      blurred: whether they were saved as JPEG.
    """

    labels: np.ndarray
    sizes: dict[tuple[int, int], int]
    values: dict[int | float, int]
    blurred: bool


def mask_place(folder: Path, name: str) -> Path | None:
    """Where a video's masks lie in a folder: a folder of images, a file, or None.

    Beside folders `VIDEO_gt` a folder `VIDEO` holds frames.
    """
    beside_frames = any(folder.glob("*_gt"))
    candidate = lying(folder, f"{name}_gt" if beside_frames else name)
    if candidate.is_dir() and _mask_files(candidate):
        return candidate
    if (array := lying(folder, f"{name}.npy")).is_file() and is_mask_array(array):
        return array
    number = re.fullmatch(r"\D*0*(\d+)", name)
    names = (*(number.groups() if number else ()), name)
    cells = [lying(folder, f"{name}_label.mat") for name in names]
    return next((file for file in cells if file.is_file()), None)


def is_mask_array(file: Path) -> bool:
    """Whether an `.npy` file holds a mask a frame rather than a number a frame."""
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False).ndim == 3
    except Exception:  # who reads the labels says what is wrong with it
        return False


def read_masks(folder: Path, name: str, length: int, *, exact: bool = True) -> Iterator[np.ndarray]:
    """The masks of a video, frame after frame.

    Args:
      folder: holds `VIDEO/NAME.png` or `VIDEO_gt/NAME.bmp`, in natural order of their numbers,
        `VIDEO.npy`, or Avenue's `1_label.mat`.
      name: of the video.
      length: F.
      exact: whether pixels count; else masks of several values are taken, too.

    Yields:
      `[H, W]` bool, True where any channel is not 0; of JPEG files where any is `WHITE` or more.

    Raises:
      DataError: no masks, another number of them, a file that cannot be read, values that are no
        numbers, or `exact` and masks of more than two values.
    """
    where = _place(folder, name)
    number, masks = _stored(where)
    if number != length:
        raise DataError(
            f"{name} has {counted(length, 'frame')} but {counted(number, 'mask')} ({where}). "
            f"{ADVICE}"
        )
    yield from _counting(where, f"{name} ({where})", map(_flat, masks), exact=exact)


def blurred(folder: Path, name: str) -> bool:
    """Whether a video has masks that were saved as JPEG, so that their edges are not exact."""
    where = mask_place(folder, name)
    return where is not None and _is_jpeg(where)


def mask_facts(folder: Path, name: str) -> MaskFacts:
    """Labels, sizes and values of the masks of a video, however many there are.

    Raises:
      DataError: the video has no masks, or a file that cannot be read.
    """
    labels, sizes, values = [], {}, {}
    where = _place(folder, name)
    _, masks = _stored(where)
    jpeg = _is_jpeg(where)
    for frame, mask in enumerate(map(_flat, masks)):
        sizes.setdefault(mask.shape, frame)
        here = _values(mask)
        for value in here.tolist():
            values.setdefault(value, frame)
        labels.append((here >= WHITE if jpeg else here != 0).any())
    return MaskFacts(np.array(labels, np.uint8), sizes, values, jpeg)


def _flat(mask):
    """`[H, W]`, the highest channel."""
    return mask.max(axis=-1) if mask.ndim == 3 else mask


def _counting(path, where, masks, *, exact):
    """The pixels that count of each mask, `[H, W]` bool."""
    if _is_jpeg(path):
        return _nearer_to_white(masks, where)
    return _not_zero(masks, where, exact=exact)


def _not_zero(masks, where, *, exact):
    value = None
    for frame, mask in enumerate(masks):
        if mask.dtype.kind == "f" and np.isnan(mask).any():
            raise DataError(
                f"{where}, frame {frame}: the mask holds NaN. Write 0 where it is normal."
            )
        found = mask != 0
        if exact and found.any():
            low, high = mask[found].min(), mask[found].max()
            value = high if value is None else value
            if not low == high == value:
                others = ", ".join(f"{v:g}" for v in dict.fromkeys((value, low, high)))
                raise DataError(
                    f"{where}, frame {frame}: masks hold 0, {others} and perhaps more; they have "
                    "two values, 0 and one other. Were they resized, or do they number things? "
                    "Take the originals, or save as PNG with one value for all that is anomalous."
                )
        yield found


def _nearer_to_white(masks, where):
    """The same of JPEG files; none is lost."""
    for frame, mask in enumerate(masks):
        found = mask >= WHITE
        if mask.max() > NOISE and not found.any():
            raise DataError(
                f"{where}, frame {frame}: the brightest pixel of this JPEG mask is {mask.max()} "
                "of 255, too dark to tell what is anomalous. Take the originals, or save as PNG "
                "with 0 and 255."
            )
        yield found


def _values(mask):
    """The values that occur; counting bytes is ten times quicker than sorting them."""
    if mask.dtype == np.uint8:
        return np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    return np.unique(mask)


def no_masks(folder: Path, name: str) -> str:
    """What is said of a video for which `mask_place` finds nothing."""
    array = lying(folder, f"{name}.npy")
    if not array.is_file():
        return f"it has no masks in {folder}"
    try:
        check_file(array)
    except DataError as error:
        return str(error).removesuffix(".")
    return f"{array} is no whole array of masks, [F, H, W]: replace it"


def _place(folder, name):
    where = mask_place(folder, name)
    if where is None:
        said = no_masks(folder, name)
        raise DataError(f"{name}: {said}. Expected {name}/NAME.png or {name}.npy. {ADVICE}")
    return where


def _mask_files(folder):
    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGES and not file.name.startswith(".")
    ]
    return sorted(files, key=lambda file: (natural(file.stem), file.name))


def _is_jpeg(where):
    if not where.is_dir():
        return False
    with _mask_files(where)[0].open("rb") as file:
        return file.read(len(JPEG)) == JPEG


def _stored(where):
    """How many masks there are, and each as it is stored: `[H, W]`, of images `[H, W, 3]`."""
    if where.is_dir():
        files = _mask_files(where)
        return len(files), map(_image, files)
    if where.suffix == ".npy":
        masks = np.load(where, mmap_mode="r", allow_pickle=False)
        if masks.dtype.kind not in "biuf":
            raise DataError(f"{where} holds {masks.dtype}. Masks are numbers, 0 where normal.")
        return len(masks), map(np.asarray, masks)
    masks = _cells(where)
    return len(masks), iter(masks)


def _image(file):
    import cv2

    # colour drops an alpha channel, which is never 0; any depth keeps 1 of 65,535
    mask = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if mask is None:
        check_file(file)
        raise DataError(f"{file} cannot be read as an image. Replace the file.")
    return mask


def _cells(file):
    import scipy.io

    check_file(file)
    try:
        content = scipy.io.loadmat(file, variable_names=[CELLS])
    except Exception as error:  # SciPy raises half a dozen kinds for files that are not its own
        raise DataError(
            f"{file} is no MATLAB file that can be read ({error}). Save it with `-v7`."
        ) from error
    if CELLS not in content or content[CELLS].dtype != object:
        found = ", ".join(f"{name} ({kind})" for name, _, kind in scipy.io.whosmat(file))
        raise DataError(
            f"{file} holds {found or 'nothing'}. Expected the variable `{CELLS}`, a cell with one "
            "mask a frame."
        )
    cells = [bare(cell) for cell in content[CELLS].ravel()]
    for frame, cell in enumerate(cells):
        if cell.ndim != 2 or cell.dtype.kind not in "biuf":
            raise DataError(
                f"{file}, cell {frame + 1} holds {cell.dtype} of shape {cell.shape}. Expected one "
                "mask, as high and wide as a frame."
            )
    return cells


def bare(cell: np.ndarray) -> np.ndarray:
    """A cell without the cells of one that some tools wrap around it."""
    while cell.dtype == object and cell.size == 1:
        cell = np.asarray(cell.item())
    return cell

"""Image files to arrays, and a record of those that could not be read."""

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from senet.data.splits import Skipped

if TYPE_CHECKING:
    from PIL import Image

# Only these are tried: Pillow's reader of EPS files, for one, starts another program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

_CHUNK = 64  # files a task
_NAMED = 10  # unreadable files that are named; the report holds all

Size = tuple[int, int]  # width, height, as Pillow counts


def decode(
    paths: Sequence[Path], image_size: int | None, filter: str = "bicubic"
) -> tuple[np.ndarray, np.ndarray, list[Skipped]]:
    """(images (N, H, W, 3) uint8, the indices of `paths` they come from (N,), what was left out).

    Grey images become RGB, transparency is dropped, the EXIF orientation is obeyed. Raises ValueError when
    sizes differ with `image_size=None`, and when no file can be read.
    """
    size = (image_size, image_size) if image_size else _first_size(paths)
    _check_memory(len(paths), size)
    images = np.empty((len(paths), size[1], size[0], 3), np.uint8)

    def decode_chunk(start: int) -> list[Skipped | Size | None]:
        chunk = range(start, min(start + _CHUNK, len(paths)))
        return [_decode_into(images, index, paths[index], image_size, filter) for index in chunk]

    with ThreadPoolExecutor(_threads()) as pool:
        outcomes = list(chain.from_iterable(pool.map(decode_chunk, range(0, len(paths), _CHUNK))))
    skipped = [outcome for outcome in outcomes if isinstance(outcome, Skipped)]
    _check_one_size(size, _sizes(paths, outcomes))
    kept = np.array([index for index, outcome in enumerate(outcomes) if outcome is None], dtype=np.int64)
    if not len(kept):
        raise ValueError(f"None of {len(paths)} files can be read as an image. {_listed(skipped)}")
    return (images[kept] if skipped else images), kept, skipped


def check_headers(paths: Sequence[Path], size: Size, image_size: int | None) -> list[Skipped]:
    """Read the headers of `paths`, no pixels: ValueError unless all have `size`, or `image_size` mends it.

    Returns what is no image. It spares a long run the discovery, at its end, that its test images do not fit.
    """

    def measure(start: int) -> list[Skipped | Size]:
        return [_measure(path) for path in paths[start : start + _CHUNK]]

    with ThreadPoolExecutor(_threads()) as pool:
        outcomes = list(chain.from_iterable(pool.map(measure, range(0, len(paths), _CHUNK))))
    skipped = [outcome for outcome in outcomes if isinstance(outcome, Skipped)]
    if len(skipped) == len(paths):
        raise ValueError(f"None of {len(paths)} test files can be read as an image. {_listed(skipped)}")
    if not image_size:
        _check_one_size(size, _sizes(paths, outcomes))
    return skipped


def announce(skipped: Sequence[Skipped], total: int, max_unreadable: float) -> None:
    """Warn about files that were left out; ValueError where they are more than that share of `total`."""
    refuse_many(skipped, total, max_unreadable)
    if skipped:
        warnings.warn(f"{_unreadable(skipped, total)}\nThey are left out.", stacklevel=2)


def refuse_many(skipped: Sequence[Skipped], total: int, max_unreadable: float) -> None:
    """ValueError where the files in `skipped` are more than the share `max_unreadable` of `total`."""
    if len(skipped) > max_unreadable * total:
        raise ValueError(
            f"{_unreadable(skipped, total)}\nNo more than the share `max_unreadable`={max_unreadable:g} may "
            "be. Mend or remove them, or raise it to go on without them."
        )


def resize(images: np.ndarray, image_size: int, filter: str = "bicubic") -> np.ndarray:
    """(N, H, W, C) uint8, C 1 or 3, to (N, S, S, C): as `decode` does it for files."""
    from PIL import Image

    squeezed = images[..., 0] if images.shape[-1] == 1 else images
    resized = [np.asarray(_fit(Image.fromarray(image), image_size, filter)) for image in squeezed]
    return np.stack(resized).reshape(len(images), image_size, image_size, images.shape[-1])


def _decode_into(
    images: np.ndarray, index: int, path: Path, image_size: int | None, filter: str
) -> Skipped | Size | None:
    """Fill `images[index]`, then None; the size where it differs; the reason where it cannot be read."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as file:
            _check_depth(file)
            ImageOps.exif_transpose(file, in_place=True)
            image = file.convert("RGBA" if "transparency" in file.info else "RGB").convert("RGB")
            if image_size:
                image = _fit(image, image_size, filter)
    except Exception as error:  # Pillow's readers raise almost anything on a broken file
        return Skipped(str(path), str(error) or type(error).__name__)
    if image.size != images.shape[2:0:-1]:
        return image.size
    images[index] = np.asarray(image)
    return None


def _measure(path: Path) -> Skipped | Size:
    """(width, height) as the EXIF orientation shows it, from the header."""
    from PIL import ExifTags, Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_depth(image)
            width, height = image.size
            lying = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return (height, width) if lying else (width, height)
    except Exception as error:  # Pillow's readers raise almost anything on a broken file
        return Skipped(str(path), str(error) or type(error).__name__)


def _check_depth(image: "Image.Image") -> None:
    # Pillow cuts deeper pixels off at 255 on the way to RGB, which leaves white images.
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"pixels of mode {image.mode} are deeper than 8 bits; save it with 8")


def _fit(image: "Image.Image", side: int, filter: str) -> "Image.Image":
    from PIL import Image, ImageOps

    return ImageOps.fit(image, (side, side), method=Image.Resampling[filter.upper()])


def _first_size(paths: Iterable[Path]) -> Size:
    skipped = []
    for path in paths:
        outcome = _measure(path)
        if not isinstance(outcome, Skipped):
            return outcome
        skipped.append(outcome)
    raise ValueError(f"None of {len(skipped)} files can be read as an image. {_listed(skipped)}")


def _sizes(paths: Sequence[Path], outcomes: Sequence[Skipped | Size | None]) -> dict[Path, Size]:
    found = zip(paths, outcomes, strict=True)
    return {path: size for path, size in found if size is not None and not isinstance(size, Skipped)}


def _check_one_size(size: Size, others: dict[Path, Size]) -> None:
    others = {path: other for path, other in others.items() if other != size}
    if others:
        common = Counter(others.values()).most_common(3)
        seen = ", ".join(f"{width}x{height} ({number} files)" for (width, height), number in common)
        raise ValueError(
            f"All images must have one size. Received: {size[0]}x{size[1]} and also {seen}, for example "
            f"{next(iter(others))}. Set `image_size` (say {min(size)}) to have all resized and cut to it."
        )


def _check_memory(count: int, size: Size) -> None:
    import psutil

    needed, present = count * size[0] * size[1] * 3, psutil.virtual_memory().total
    if needed > 0.8 * present:
        raise ValueError(
            f"All images must fit in memory. Received: {count} images of {size[0]}x{size[1]}, "
            f"{needed / 1e9:.1f} GB of {present / 1e9:.1f} GB. Set a smaller `image_size` or use fewer files."
        )


def _unreadable(skipped: Sequence[Skipped], total: int) -> str:
    return f"{len(skipped)} of {total} files cannot be read as images. {_listed(skipped)}"


def _listed(skipped: Sequence[Skipped]) -> str:
    lines = [f"\n  {path}: {reason}" for path, reason in skipped[:_NAMED]]
    more = f"\n  and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
    return f"Received:{''.join(lines)}{more}"


def _threads() -> int:
    return min(32, os.cpu_count() or 1)

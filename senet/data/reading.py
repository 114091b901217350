"""One image of any kind to upright pixels of 8 bits, or the reason why not."""

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from senet.data.crop import RefusedImage
from senet.data.images import FORMATS

if TYPE_CHECKING:
    from PIL import Image

# The files of a folder that count as images; a file that is named itself is tried whatever its suffix.
SUFFIXES = frozenset(
    (".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo")
    + (".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)

HIDDEN = (".", "__MACOSX")

BITS_PER_SAMPLE, TILE_WIDTH, TILE_LENGTH = 258, 322, 323  # tags of TIFF

_HEAD = 512  # bytes of a file that tell what it is
_LARGE = 2**24  # pixels; above, one image at a time is decoded: at Pillow's limit one takes up to 0.8 GB
_one_large = threading.Lock()


def find_images(folder: Path) -> list[Path]:
    """The files with a suffix of SUFFIXES at any depth below `folder`, sorted; hidden ones do not count.

    ValueError where there is none, OSError for a folder that cannot be listed. Linked folders, which could
    lead back to themselves, are not entered.
    """

    def refuse(error: OSError) -> None:
        raise error

    found = []
    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
        paths = [Path(place, name) for name in files if not name.startswith(HIDDEN)]
        found += [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not found:
        raise ValueError(
            f"A folder must hold image files ({', '.join(sorted(SUFFIXES))}). Received: {folder}, with none."
        )
    return sorted(found)


@contextlib.contextmanager
def opened(image: "str | os.PathLike[str] | IO[bytes] | Image.Image", mode: str) -> Iterator["Image.Image"]:
    """A file by name or open, or an image of Pillow's, upright and in `mode` ("RGB" or "L") with 8 bits.

    As Pillow's `convert` has it: palettes are looked up, CMYK becomes RGB without a colour profile,
    transparency is dropped and what lies under it shows. Beyond it: the EXIF orientation is obeyed, and
    16-bit grey is scaled by 1/257, not cut off at 255. Of an animation it is the first frame. Raises an
    error of almost any type, worded for people by `reason`.
    """
    from PIL import Image

    with contextlib.ExitStack() as closing:
        if not isinstance(image, Image.Image):
            if isinstance(image, (str, os.PathLike)):
                _check_regular(Path(image))
            image = closing.enter_context(Image.open(image, formats=FORMATS))
            check_area(image)
        if image.width * image.height > _LARGE:
            closing.enter_context(_one_large)
        image.load()
        orientation = turn(image)  # after `load`: some formats hold it behind the pixels
        flat = _flat(image, mode)
        yield flat if orientation is None else flat.transpose(orientation)


def _check_regular(path: Path) -> None:
    if path.exists() and not path.is_file():  # reading a pipe might never end
        raise RefusedImage("it is not a regular file")


def reason(error: Exception, image: object) -> str:
    """Why `opened(image)` failed, for people."""
    from PIL import Image

    if isinstance(error, Image.UnidentifiedImageError) and isinstance(image, (str, os.PathLike)):
        with Path(image).open("rb") as file:
            return _content(file.read(_HEAD))
    if isinstance(error, Image.UnidentifiedImageError) and isinstance(image, io.BytesIO):
        return _content(image.getvalue()[:_HEAD])
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"{str(error).rstrip('.')}; if you trust the file, raise PIL.Image.MAX_IMAGE_PIXELS"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, (RefusedImage, MemoryError)):
        return str(error) or "not enough memory"
    return f"it is damaged or cut short ({str(error).strip() or type(error).__name__})"


def _content(head: bytes) -> str:
    """What a file holds that is no image, as far as its first bytes tell."""
    head = head.lstrip().lower()
    if not head:
        return "the file is empty"
    if head.startswith((b"<!doctype html", b"<html", b"<?xml", b"<svg")):
        return "it is a text of HTML or XML, not an image (a page that was saved in place of a picture?)"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS: fetch the file with `git lfs pull`"
    return f"its content is none of {', '.join(FORMATS)}, or it is damaged"


def check_area(image: "Image.Image") -> None:
    """DecompressionBombError for an image above Pillow's limit, from its header."""
    from PIL import Image

    # Pillow itself warns above this limit and refuses above twice as much.
    limit = Image.MAX_IMAGE_PIXELS
    tags = getattr(image, "tag_v2", {})
    # A tile of a TIFF file may be far larger than its image, and is held whole.
    for width, height in (image.size, (tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1))):
        if limit is not None and width * height > limit:
            raise Image.DecompressionBombError(
                f"{width}x{height} are more than {limit:,} pixels, Pillow's limit against decompression bombs"
            )


def turn(image: "Image.Image") -> "Image.Transpose | None":
    """What sets an image upright; damaged EXIF data turn nothing."""
    from PIL import ExifTags, Image

    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # they raise almost anything; the pixels are in order all the same
        return None
    flips = Image.Transpose
    return {
        2: flips.FLIP_LEFT_RIGHT,
        3: flips.ROTATE_180,
        4: flips.FLIP_TOP_BOTTOM,
        5: flips.TRANSPOSE,
        6: flips.ROTATE_270,
        7: flips.TRANSVERSE,
        8: flips.ROTATE_90,
    }.get(orientation if isinstance(orientation, int) else 1)


def _flat(image: "Image.Image", mode: str) -> "Image.Image":
    """A loaded image in `mode`, 8 bits."""
    from PIL import Image

    if image.mode == mode:
        return image
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
    # Netpbm and older Pillows' PNG hold 16 bits in 32; of other 32-bit numbers nobody knows which is white.
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise RefusedImage("pixels of 32-bit numbers have no known white: save it with 8 or 16 bits")
    if image.mode.startswith("F"):
        raise RefusedImage("pixels of floating-point numbers have no known white: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        if bits[0] < 16:
            raise RefusedImage(f"grey of {bits[0]} bits is not read: save it with 8 or 16 bits")
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert(mode)
    if "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB, Pillow warns of transparency that stands in bytes
    return image.convert(mode)

"""Encoded images to pixels of one size, with the quickest decoder whose pixels are exact.

JPEG files of one or three channels are decoded by libjpeg-turbo through simplejpeg, whose pixels equal
Pillow's; everything else, and what that decoder refuses, goes through `senet.data.reading.opened`.
docs/data.md has the measurements.
"""

import io
import math
import threading
from collections.abc import Callable

import numpy as np

from senet.data.crop import FloatBox, resize_and_crop, resize_box
from senet.data.images import FORMATS
from senet.data.reading import check_area, opened, reason, turn

Size = tuple[int, int]  # width, height
Box = tuple[int, int, int, int]  # left, top, right, bottom


def cut_window(data: bytes, choose: Callable[[Size], Box], side: int, filter: str) -> np.ndarray:
    """The window that `choose` takes of an image's (width, height), resized: (side, side, 3) uint8.

    The resize is that of `resize_box`, and sees the window only. Of a window at
    least twice as large as `side`, a JPEG file is decoded at a half, a quarter or an eighth of its size.
    ValueError says why data cannot be read.
    """
    size, pixels = _plain_size(data), None
    if size is not None:
        box = choose(size)
        pixels = _quick(data, _least(size, box, side))
    if size is None or pixels is None:
        pixels = _slow(data)
        size = (pixels.shape[1], pixels.shape[0])
        box = choose(size)
    return resize_box(pixels, _scaled(box, size, pixels), (side, side), filter)


def cut_centre(data: bytes, short: int, side: int, filter: str) -> np.ndarray:
    """An image with its shorter side resized to `short`, then the central (side, side, 3) uint8 of it.

    Decoded in full: equal to `Preprocess.pixels` of the same file. ValueError says why data cannot be read.
    """
    from PIL import Image

    pixels = _quick(data, None) if _plain_size(data) else None
    image = Image.fromarray(_slow(data) if pixels is None else pixels)
    return np.asarray(resize_and_crop(image, short, side, filter))


def decode_whole(data: bytes) -> np.ndarray:
    """An image of any kind, upright: (H, W, 3) uint8. ValueError says why data cannot be read."""
    pixels = _quick(data, None) if _plain_size(data) else None
    return _slow(data) if pixels is None else pixels.copy()


class _Scratch(threading.local):
    """Memory that a thread decodes into again and again: asking for new pages takes a tenth of the time."""

    def __init__(self) -> None:
        self.bytes = np.empty(0, np.uint8)

    def room(self, size: int) -> np.ndarray:
        """`size` bytes; what was in them is lost at the next call."""
        if len(self.bytes) < size:
            self.bytes = np.empty(size, np.uint8)
        return self.bytes[:size]


_scratch = _Scratch()


def _plain_size(data: bytes) -> Size | None:
    """(width, height) of a JPEG file of one or three channels that stands upright, from its header."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_area(image)
            plain = image.format == "JPEG" and image.mode in ("RGB", "L") and turn(image) is None
            return image.size if plain else None
    except Exception:  # Pillow's readers raise almost anything on a broken file; `_slow` says what is wrong
        return None


def _quick(data: bytes, least: Size | None) -> np.ndarray | None:
    """(H, W, 3) uint8 to be used before the next call, smaller than the image where that leaves `least`.

    None for a file that is in any way odd.
    """
    import simplejpeg

    width, height = least or (0, 0)
    # Sizes between the halves have no fast code in libjpeg-turbo and cost more than they save.
    shrink = {"min_width": width, "min_height": height, "min_factor": 2 if least else 1}
    try:
        rows, columns, _, _ = simplejpeg.decode_jpeg_header(data, **shrink)
        pixels: np.ndarray = simplejpeg.decode_jpeg(
            data, "RGB", **shrink, buffer=_scratch.room(3 * rows * columns)
        )
    except ValueError:
        return None
    return pixels


def _slow(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 of any kind of image; ValueError says why it cannot be read."""
    stream = io.BytesIO(data)
    try:
        with opened(stream, "RGB") as image:
            return np.asarray(image)
    except Exception as error:  # Pillow's readers raise almost anything on a broken file
        raise ValueError(reason(error, stream)) from error


def _least(size: Size, box: Box, side: int) -> Size | None:
    """The (width, height) an image may be decoded at for `box` to keep `side` pixels; None: only its own."""
    width, height = size
    least = (math.ceil(width * side / (box[2] - box[0])), math.ceil(height * side / (box[3] - box[1])))
    return least if 2 * least[0] <= width and 2 * least[1] <= height else None


def _scaled(box: Box, size: Size, pixels: np.ndarray) -> FloatBox:
    """`box` of an image of `size` in `pixels`, which may be a smaller copy of it."""
    across, down = pixels.shape[1] / size[0], pixels.shape[0] / size[1]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down

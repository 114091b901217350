"""The geometry of crops. Evaluation: short side to a size, then the centre, pixel for pixel as Pillow."""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FloatBox = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

FILTERS = {"bilinear": 1, "bicubic": 2}  # reach of the filter, in pixels of the coarser of the two grids

# Pixels of a resized image that are worked out in full, at most 64 MB. More than that is a strip of 256:1
# and thinner at a short side of 256; of such a one only the part around the crop is resized.
FULL_PIXELS = 2**24

_TRIES = 10  # draws of a random window before the central one is taken


class RefusedImage(ValueError):
    """An image that is in order, and cannot be used all the same."""


def resized_size(width: int, height: int, short: int) -> tuple[int, int]:
    """(width, height) with the shorter at `short` and the longer in proportion, rounded down."""
    # Down, not to the nearest: torchvision's rule, on which the published accuracies rest.
    longer = int(short * max(width, height) / min(width, height))
    return (short, longer) if width <= height else (longer, short)


def centre(length: int, crop: int) -> int:
    """The first pixel of a centred crop; half pixels go to the even neighbour, as torchvision rounds."""
    return round((length - crop) / 2)


def resize_and_crop(
    image: "Image.Image", short: int | None, crop: int | None, filter: str = "bicubic"
) -> "Image.Image":
    """`image` with its shorter side resized to `short`, then its central `crop` × `crop` pixels.

    `short=None` leaves the size, `crop=None` keeps the whole. The resize is antialiased; `filter` is a key of
    FILTERS. Strips above FULL_PIXELS are resized around the crop alone, which may differ by a grey level or
    two. Raises RefusedImage for an image that is smaller than the crop, and
    for a strip that is to be kept whole.
    """
    from PIL import Image

    size = resized_size(*image.size, short) if short else image.size
    method = Image.Resampling[filter.upper()]
    if crop is None:
        if size != image.size and math.prod(size) > FULL_PIXELS:
            raise RefusedImage(
                f"an image of {image.width}x{image.height} would be {size[0]}x{size[1]} after the resize: "
                "cut it to a shape nearer to a square"
            )
        return image.resize(size, method)
    if min(size) < crop:
        raise RefusedImage(
            f"an image of {image.width}x{image.height} is smaller than the crop of {crop}x{crop}, and "
            "nothing resizes it first: enlarge it"
        )
    left, top = centre(size[0], crop), centre(size[1], crop)
    if size == image.size or math.prod(size) <= FULL_PIXELS:
        return image.resize(size, method).crop((left, top, left + crop, top + crop))
    return resize_window(image, size, (left, top, left + crop, top + crop), filter)


def resize_window(
    image: "Image.Image", size: tuple[int, int], window: tuple[int, int, int, int], filter: str
) -> "Image.Image":
    """`window` (left, top, right, bottom) of `image` resized to `size`, without the rest of it."""
    from PIL import Image

    axes = zip(image.size, size, window[:2], window[2:], strict=True)
    spans = [_span(*axis, FILTERS[filter]) for axis in axes]
    # Pillow holds the box in single precision: counted from a near corner it loses the least.
    part = image.crop((spans[0][0], spans[1][0], spans[0][1], spans[1][1]))
    box = (spans[0][2], spans[1][2], spans[0][3], spans[1][3])
    return part.resize((window[2] - window[0], window[3] - window[1]), Image.Resampling[filter.upper()], box)


def resize_box(pixels: np.ndarray, box: FloatBox, size: tuple[int, int], filter: str) -> np.ndarray:
    """`box` of (H, W, C) uint8 pixels, C 1 or 3, resized to `size` (width, height), blind to what is outside.

    `filter` is "area", by OpenCV, which takes whole pixels of the box, or a key of FILTERS, by Pillow. What
    becomes larger is interpolated linearly by "area".
    """
    left, top, right, bottom = box
    if filter == "area":
        import cv2

        first = round(left), round(top)
        last = max(round(right), first[0] + 1), max(round(bottom), first[1] + 1)
        part = pixels[first[1] : last[1], first[0] : last[0]]
        return cv2.resize(part, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    from PIL import Image

    first = int(left), int(top)
    # The part alone: the copy into Pillow's own layout costs by the pixel.
    part = pixels[first[1] : math.ceil(bottom), first[0] : math.ceil(right)]
    inner = (left - first[0], top - first[1], right - first[0], bottom - first[1])
    image = Image.fromarray(part[..., 0] if part.shape[-1] == 1 else part)
    resized = image.resize(size, Image.Resampling[filter.upper()], inner)
    return np.asarray(resized).reshape(size[1], size[0], -1)


def _span(source: int, target: int, low: int, high: int, reach: int) -> tuple[int, int, float, float]:
    """Along one axis: the source pixels [first, last) that target pixels [low, high) are made of, and where
    these begin and end, counted from the first."""
    scale = source / target
    margin = reach * max(scale, 1.0) + 1
    first = max(0, math.floor(low * scale - margin))
    last = min(source, math.ceil(high * scale + margin))
    return first, last, low * scale - first, min(high * scale - first, last - first)


def random_window(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a window with a share of the area in `scale`, its aspect in `ratio`.

    `size` is (width, height); the share is drawn evenly, the aspect (width / height) log-evenly. Where ten
    draws do not fit into the image, it is the largest central window whose aspect is in `ratio`.
    Source: Szegedy et al. 2015, arXiv:1409.4842, section 6, as torchvision's RandomResizedCrop does it.
    """
    width, height = size
    for _ in range(_TRIES):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        across, down = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < across <= width and 0 < down <= height:
            left, top = int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1))
            return left, top, left + across, top + down
    aspect = min(max(width / height, ratio[0]), ratio[1])
    across, down = min(width, round(height * aspect)), min(height, round(width / aspect))
    across, down = max(across, 1), max(down, 1)
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down

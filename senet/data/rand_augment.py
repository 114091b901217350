"""RandAugment: a few operations drawn from fourteen, all of one strength.

Source: Cubuk et al. 2020, arXiv:1909.13719, section 3; the ranges are those of the paper's Table 6 at full
strength (30). Factors of colours and the geometric operations go either way.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from senet.data.config import RandAugment
from senet.data.vary import Fill, as_image, as_pixels, colour

if TYPE_CHECKING:
    from PIL import Image

FULL = 30.0  # the magnitude at which an operation is at its strongest
_SHEAR, _SHIFT, _ANGLE, _FACTOR, _BITS = 0.3, 0.45, 30.0, 0.9, 4  # there; _SHIFT is a share of the side

# (image, strength in -1..1, fill) to the changed image.
Operation = Callable[["Image.Image", float, int | Fill], "Image.Image"]


def rand_augment(
    image: np.ndarray, rng: np.random.Generator, *, config: RandAugment, fill: Fill
) -> np.ndarray:
    """`config.number` operations of OPERATIONS, drawn with repetition, on (H, W, C) uint8 pixels."""
    picture, margin = as_image(image), colour(fill, image.shape[-1])
    names = list(OPERATIONS)
    for _ in range(config.number):
        name, sign = names[rng.integers(len(names))], rng.choice((-1, 1))
        picture = OPERATIONS[name](picture, sign * config.magnitude / FULL, margin)
    return as_pixels(picture)


def _affine(image: "Image.Image", matrix: tuple[float, ...], fill: int | Fill) -> "Image.Image":
    from PIL import Image

    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill
    )


def _shear_x(image: "Image.Image", strength: float, fill: int | Fill) -> "Image.Image":
    slope = _SHEAR * strength  # about the centre, so that the middle of the image stays
    return _affine(image, (1, slope, -slope * image.height / 2, 0, 1, 0), fill)


def _shear_y(image: "Image.Image", strength: float, fill: int | Fill) -> "Image.Image":
    slope = _SHEAR * strength
    return _affine(image, (1, 0, 0, slope, 1, -slope * image.width / 2), fill)


def _translate_x(image: "Image.Image", strength: float, fill: int | Fill) -> "Image.Image":
    return _affine(image, (1, 0, round(_SHIFT * strength * image.width), 0, 1, 0), fill)


def _translate_y(image: "Image.Image", strength: float, fill: int | Fill) -> "Image.Image":
    return _affine(image, (1, 0, 0, 0, 1, round(_SHIFT * strength * image.height)), fill)


def _rotate(image: "Image.Image", strength: float, fill: int | Fill) -> "Image.Image":
    from PIL import Image

    return image.rotate(_ANGLE * strength, Image.Resampling.BILINEAR, fillcolor=fill)


def _enhance(kind: str) -> Operation:
    """One of Pillow's ImageEnhance, by the factor 1 + 0.9 * strength."""

    def operation(image: "Image.Image", strength: float, fill: int | Fill) -> "Image.Image":
        from PIL import ImageEnhance

        changed: Image.Image = getattr(ImageEnhance, kind)(image).enhance(1 + _FACTOR * strength)
        return changed

    return operation


def _posterize(image: "Image.Image", strength: float, fill: int | Fill) -> "Image.Image":
    from PIL import ImageOps

    return ImageOps.posterize(image, 8 - round(_BITS * abs(strength)))


def _solarize(image: "Image.Image", strength: float, fill: int | Fill) -> "Image.Image":
    from PIL import ImageOps

    return ImageOps.solarize(image, round(256 * (1 - abs(strength))))


def _autocontrast(image: "Image.Image", strength: float, fill: int | Fill) -> "Image.Image":
    from PIL import ImageOps

    return ImageOps.autocontrast(image)


def _equalize(image: "Image.Image", strength: float, fill: int | Fill) -> "Image.Image":
    from PIL import ImageOps

    return ImageOps.equalize(image)


OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, strength, fill: image,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "color": _enhance("Color"),
    "posterize": _posterize,
    "contrast": _enhance("Contrast"),
    "brightness": _enhance("Brightness"),
    "sharpness": _enhance("Sharpness"),
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}

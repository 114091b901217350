"""Changes of one training image: uint8 pixels (H, W, C) and a generator in, the same shape and type out.

Each draws from the given generator alone, and as many numbers whatever it does with them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from senet.data.config import AugmentConfig, ColorJitter

if TYPE_CHECKING:
    from PIL import Image

Fill = tuple[int, ...]
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

_HOLE_AREA = (0.02, 0.33)  # of the image
_HOLE_ASPECT = (0.3, 1 / 0.3)
_TRIES = 10


@dataclass(frozen=True)
class Vary:
    """Changes of one image, one after another."""

    changes: tuple[Change, ...]

    @classmethod
    def from_config(cls, config: AugmentConfig, fill: Fill) -> "Vary | None":
        """What `config` asks for beside crop and flip, None for nothing; `fill` is the colour of margins."""
        from senet.data.rand_augment import rand_augment

        wanted: list[tuple[object, Change]] = [
            (config.rotation, partial(rotation, degrees=config.rotation, fill=fill)),
            (config.color_jitter != ColorJitter(), partial(color_jitter, config=config.color_jitter)),
            (config.rand_augment.number, partial(rand_augment, config=config.rand_augment, fill=fill)),
            (config.pixel_jitter, partial(pixel_jitter, most=config.pixel_jitter)),
            (config.erasing, partial(erasing, probability=config.erasing)),
            (config.cutout, partial(cutout, side=config.cutout, fill=fill)),
        ]
        changes = tuple(change for asked, change in wanted if asked)
        return cls(changes) if changes else None

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for change in self.changes:
            image = change(image, rng)
        return image


def rotation(image: np.ndarray, rng: np.random.Generator, *, degrees: float, fill: Fill) -> np.ndarray:
    """Turned about its centre by an angle from [-degrees, degrees], bilinear; the corners get `fill`."""
    from PIL import Image

    angle = rng.uniform(-degrees, degrees)
    turned = as_image(image).rotate(angle, Image.Resampling.BILINEAR, fillcolor=colour(fill, image.shape[-1]))
    return as_pixels(turned)


def pixel_jitter(image: np.ndarray, rng: np.random.Generator, *, most: float) -> np.ndarray:
    """Each channel moved by one whole number of grey levels from [-most, most], cut off at 0 and 255.

    The source says "random pixel jitter ±20" and no more; one draw a channel shifts the colour of the light,
    where one a pixel would be noise. Source: README of github.com/hujie-frank/SENet.
    """
    shift = np.round(rng.uniform(-most, most, image.shape[-1])).astype(np.int16)
    return np.clip(image + shift, 0, 255).astype(np.uint8)


def color_jitter(image: np.ndarray, rng: np.random.Generator, *, config: ColorJitter) -> np.ndarray:
    """Brightness, contrast, saturation and hue changed by random amounts, in random order.

    As Pillow's ImageEnhance: a factor mixes the image with black, with its mean grey, with its grey copy.
    Saturation and hue leave grey images alone.
    """
    from PIL import ImageEnhance

    strengths = (config.brightness, config.contrast, config.saturation)
    factors = [rng.uniform(1 - strength, 1 + strength) for strength in strengths]
    turn = rng.uniform(-config.hue, config.hue)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    picture = as_image(image)
    for part in rng.permutation(4):
        if part == 3:
            picture = turn_hue(picture, turn)
        elif factors[part] != 1:
            picture = enhancers[part](picture).enhance(factors[part])
    return as_pixels(picture)


def turn_hue(image: "Image.Image", turn: float) -> "Image.Image":
    """`image` with its colours moved by `turn` of the colour circle, to 1/256 of it; grey stays grey."""
    from PIL import Image

    steps = round(turn * 256) % 256
    if not steps or image.mode != "RGB":
        return image
    hue, saturation, value = image.convert("HSV").split()
    hue = hue.point([(level + steps) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def erasing(image: np.ndarray, rng: np.random.Generator, *, probability: float) -> np.ndarray:
    """With `probability`, a rectangle of 2 to 33 % of the area is replaced by noise from 0..255.

    Its aspect (height / width) is log-uniform in 0.3..3.3. Source: Zhong et al. 2017, arXiv:1708.04896.
    """
    height, width, channels = image.shape
    if rng.random() >= probability:
        return image
    for _ in range(_TRIES):
        area = rng.uniform(*_HOLE_AREA) * height * width
        aspect = float(np.exp(rng.uniform(*np.log(_HOLE_ASPECT))))
        down, across = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < down <= height and 0 < across <= width:
            top, left = rng.integers(height - down + 1), rng.integers(width - across + 1)
            erased = image.copy()
            noise = rng.integers(0, 256, (down, across, channels), dtype=np.uint8)
            erased[top : top + down, left : left + across] = noise
            return erased
    return image


def cutout(image: np.ndarray, rng: np.random.Generator, *, side: int, fill: Fill) -> np.ndarray:
    """A square of `side` pixels around a pixel drawn from all, as far as it is inside, set to `fill`.

    Source: DeVries and Taylor 2017, arXiv:1708.04552 (16 pixels for CIFAR-10, 8 for CIFAR-100).
    """
    height, width, _ = image.shape
    top, left = int(rng.integers(height)) - side // 2, int(rng.integers(width)) - side // 2
    covered = image.copy()
    covered[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = fill
    return covered


def as_image(pixels: np.ndarray) -> "Image.Image":
    """(H, W, 3) or (H, W, 1) uint8 as an image of Pillow's."""
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def as_pixels(image: "Image.Image") -> np.ndarray:
    """The reverse of `as_image`."""
    return np.asarray(image).reshape(image.height, image.width, -1)


def colour(fill: Fill, channels: int) -> int | Fill:
    """`fill`, one value or one a channel, as Pillow wants it for images of so many channels."""
    return fill[0] if channels == 1 else tuple(np.broadcast_to(fill, channels).tolist())

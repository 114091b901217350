"""From pixels to what a network reads."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from senet.data.crop import FILTERS, resize_and_crop

if TYPE_CHECKING:
    from PIL import Image

ImageLike: TypeAlias = Union[str, "os.PathLike[str]", "Image.Image", np.ndarray]

_CHUNK = 4096  # images counted at once: np.bincount widens each byte to eight


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """`(x - mean) / std` for each channel, in the 0..255 units of the pixels; RGB where there are three.

    For single images of any size, `image` and `batch` first resize the shorter side to `resize` pixels and
    cut the central `crop` × `crop` out of it (None: leave that step out), with Pillow's antialiased `filter`,
    "bilinear" or "bicubic". Called on arrays, only the numbers are changed.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    crop: int | None = None
    filter: str = "bicubic"

    def __post_init__(self):
        # Lists are what JSON gives back.
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        numbers = np.array([*self.mean, *self.std])
        if not self.mean or len(self.mean) != len(self.std) or not np.isfinite(numbers).all():
            raise ValueError(
                "`mean` and `std` must hold one finite number for each channel. "
                f"Received: mean={self.mean}, std={self.std}."
            )
        if min(self.std) <= 0:
            raise ValueError(
                f"`std` must be above 0. Received: std={self.std}. Use 1.0 to leave a scale alone."
            )
        self._check_geometry()

    def _check_geometry(self) -> None:
        sides = [side for side in (self.crop, self.resize) if side is not None]
        if any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
            raise ValueError(
                "`resize` and `crop` must be None or pixels, from 1. "
                f"Received: resize={self.resize!r}, crop={self.crop!r}."
            )
        if sides != sorted(sides):
            raise ValueError(
                "`crop` must not exceed `resize`, the shorter side it is cut from. "
                f"Received: resize={self.resize}, crop={self.crop}."
            )
        if self.filter not in FILTERS:
            raise ValueError(
                f"`filter` must be one of {', '.join(map(repr, FILTERS))}. Received: filter={self.filter!r}."
            )

    @classmethod
    def timm(
        cls,
        size: int = 224,
        crop_pct: float = 0.875,
        interpolation: str = "bicubic",
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> "Preprocess":
        """What timm does at evaluation with these fields of a pretrained configuration (crop mode "center").

        `size` is the side of the crop; it is cut from a shorter side of floor(size / crop_pct) pixels.
        `mean` and `std` are in 0..1, as timm and torchvision write them.
        """
        if not 0 < crop_pct <= 1:
            raise ValueError(f"`crop_pct` must be in (0, 1]. Received: crop_pct={crop_pct}.")
        return cls(
            mean=tuple(255 * value for value in mean),
            std=tuple(255 * value for value in std),
            resize=math.floor(size / crop_pct),
            crop=size,
            filter=interpolation,
        )

    @classmethod
    def of(cls, images: np.ndarray) -> "Preprocess":
        """Mean and population deviation of each channel of `images`, (N, H, W, C) uint8, N at least 1.

        Counted in whole numbers, so the order of the images cannot change the result. A channel that
        never varies gets a deviation of 1.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
            raise ValueError(
                "Statistics need uint8 images of shape (N, H, W, C), at least one. "
                f"Received: {images.dtype} of shape {images.shape}."
            )
        values = np.arange(256, dtype=np.float64)
        mean, std = [], []
        for channel in range(images.shape[-1]):
            counts = np.zeros(256, np.int64)
            for start in range(0, len(images), _CHUNK):
                counts += np.bincount(images[start : start + _CHUNK, ..., channel].ravel(), minlength=256)
            centre = float(values @ counts) / counts.sum()
            mean.append(centre)
            std.append(float(np.sqrt((values - centre) ** 2 @ counts / counts.sum())) or 1.0)
        return cls(mean=tuple(mean), std=tuple(std))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """`images` (..., C), uint8 or float in 0..255, to float32 of the same shape; the input is kept."""
        images = np.asarray(images)
        channels = len(self.mean)
        if images.ndim == 0 or images.shape[-1] != channels:
            raise ValueError(
                f"Images must have {channels} channels in the last axis. Received: shape={images.shape}."
            )
        # Whole images a row: with rows of three values NumPy spends eight times as long on its loop.
        row = max(channels, int(np.prod(images.shape[-3:])))
        rows = images.astype(np.float32, order="C").reshape(-1, row)
        rows -= np.tile(np.asarray(self.mean, np.float32), row // channels)
        rows /= np.tile(np.asarray(self.std, np.float32), row // channels)
        return rows.reshape(images.shape)

    def pixels(self, image: ImageLike, name: str | None = None) -> np.ndarray:
        """One image, resized and cut but not normalised: (crop, crop, C) uint8.

        `image` is a path, an image of Pillow's, or uint8 pixels (H, W, C). Kinds, colours and orientation are
        treated as `senet.data.reading.opened` says. ValueError says why an image cannot be read and calls it
        `name`, by default its path.
        """
        from PIL import Image

        from senet.data.reading import opened, reason

        channels = len(self.mean)
        if channels not in (1, 3):
            raise ValueError(f"Images have 1 or 3 channels. Received: mean and std of {channels}.")
        if isinstance(image, np.ndarray):
            check_pixels(image, channels)
            image = Image.fromarray(image[..., 0] if channels == 1 else image)
        name = name or name_of(image) or "The image"
        try:
            with opened(image, "L" if channels == 1 else "RGB") as upright:
                cut = resize_and_crop(upright, self.resize, self.crop, self.filter)
                return np.asarray(cut).reshape(cut.height, cut.width, channels)
        except Exception as error:  # Pillow's readers raise almost anything on a broken file
            raise ValueError(f"{name} cannot be read as an image: {reason(error, image)}.") from error

    def image(self, image: ImageLike) -> np.ndarray:
        """One image as the network reads it: (crop, crop, C) float32. See `pixels`."""
        return self(self.pixels(image))

    def batch(self, images: Sequence[ImageLike]) -> np.ndarray:
        """Images as the network reads them: (N, crop, crop, C) float32. See `pixels`."""
        return self(np.stack([self.pixels(image) for image in images]))


def name_of(image: ImageLike) -> str:
    """The path of a file, or of the file that an image of Pillow's comes from; "" where there is none."""
    named = image if isinstance(image, (str, os.PathLike)) else getattr(image, "filename", "")
    return os.fsdecode(named)


def check_pixels(image: np.ndarray, channels: int) -> None:
    """ValueError unless `image` is (H, W, channels) uint8, and not empty."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels or not image.size:
        raise ValueError(
            f"Pixels must be uint8 of shape (H, W, {channels}), at least one. "
            f"Received: {image.dtype} of shape {image.shape}."
        )

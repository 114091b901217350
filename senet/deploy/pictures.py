"""Images for calibration and comparison, as the Keras model and as an exported file take them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from senet.deploy.metadata import Metadata

GENERATED = 8  # images where the caller gives none
SIDE = 224  # of generated images, where nothing says a size


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What turns given images into arrays for the model and for the file.

    The file takes pixels where normalisation is baked in, else the same as the model.
    """

    shape: tuple[int | None, ...]  # (H, W, C)
    preprocess: Any  # fitted to the shape, or None
    baked: bool

    @classmethod
    def of(cls, model: keras.Model, metadata: Metadata) -> Pictures:
        from senet.data.preprocess import Preprocess

        found = metadata.preprocess and Preprocess(**metadata.preprocess)
        return cls(metadata.input_shape[1:], found, metadata.baked)

    def for_file(self, images: Any, option: str) -> np.ndarray:
        """Given images as the file takes them, (N, H, W, C) float32; ValueError names the option."""
        if isinstance(images, np.ndarray) and images.dtype.kind == "f":
            return self._checked(self._floats(images, option), option)
        pixels = self._pixels(images, option)
        if self.baked:
            return self._checked(pixels.astype(np.float32), option)
        if self.preprocess is None:
            raise ValueError(
                f"`{option}` are pixels, and nothing says how they become the network's input. Give "
                "`preprocess`, or one float32 array (N, H, W, C) that is normalised already."
            )
        return self._checked(self.preprocess(pixels), option)

    def for_model(self, images: np.ndarray) -> np.ndarray:
        """What `for_file` gave, as the Keras model takes it."""
        return self.preprocess(images) if self.baked else images

    def _floats(self, images: np.ndarray, option: str) -> np.ndarray:
        if self.baked:
            raise ValueError(
                f"`{option}` must be paths, or uint8 pixels, where normalisation is baked in: the file "
                f"normalises them itself. Received: an array of {images.dtype}."
            )
        if not np.isfinite(images).all():
            raise ValueError(f"`{option}` must be finite. Received: numbers that are not.")
        return images.astype(np.float32)

    def _pixels(self, images: Any, option: str) -> np.ndarray:
        """(N, H, W, C) uint8."""
        from senet.data.preprocess import Preprocess
        from senet.predict import list_sources

        channels = self.shape[2]
        assert channels is not None
        try:
            sources = list_sources(images, channels=channels)
        except TypeError as error:
            raise ValueError(
                f"`{option}` must be paths, folders, images of Pillow's, uint8 arrays (H, W, {channels}), or "
                f"one float32 array (N, H, W, {channels}). Received: {type(images).__name__}."
            ) from error
        cut = self.preprocess or Preprocess(mean=(0.0,) * channels, std=(1.0,) * channels)
        found = [cut.pixels(source.image, source.name) for source in sources]
        if not found or len({pixels.shape for pixels in found}) > 1:
            shapes = sorted({pixels.shape for pixels in found})
            raise ValueError(
                f"`{option}` must be images of one size, or `preprocess` must cut them to one. Received: "
                f"{shapes or 'no image'}."
            )
        return np.stack(found)

    def _checked(self, images: np.ndarray, option: str) -> np.ndarray:
        if images.ndim != 4 or not len(images):
            raise ValueError(f"`{option}` must be (N, H, W, C), at least one. Received: {images.shape}.")
        if any(own not in (None, size) for own, size in zip(self.shape, images.shape[1:], strict=True)):
            raise ValueError(
                f"`{option}` must be images of shape {self.shape}, which the file takes. Received: "
                f"{images.shape[1:]}."
            )
        return images


def calibration_images(pictures: Pictures, images: Any, batch: int) -> np.ndarray:
    """The calibration images, as the file takes them; ValueError unless they fill a batch."""
    found = pictures.for_file(images, "calibration")
    if len(found) < batch:
        raise ValueError(
            f"`calibration` must hold at least one batch of {batch} images. Received: {len(found)}."
        )
    return found


def sample_images(pictures: Pictures, images: Any, calibration: np.ndarray | None) -> tuple[str, np.ndarray]:
    """Images to compare on, as the file takes them, and what they are: given, for calibration, generated."""
    if images is not None:
        return "the given images", pictures.for_file(images, "samples")
    if calibration is not None:
        return "the calibration images", calibration
    return "generated images", pictures.for_file(generated(pictures), "samples")


def generated(pictures: Pictures, count: int = GENERATED) -> np.ndarray:
    """Smooth colour patterns, the same every time: uint8 pixels, or normalised where nothing normalises.

    They have more of low frequencies than of high ones, like photographs, and unlike noise.
    """
    height, width, channels = pictures.shape
    preprocess = pictures.preprocess
    side = (preprocess and preprocess.crop) or SIDE
    height, width = height or side, width or side
    rng = np.random.default_rng(0)
    down, across = (np.linspace(0, 1, size)[:, None] for size in (height, width))
    waves = np.arange(9)
    images = np.zeros((count, height, width, channels or 3))
    for index in range(count):
        for channel in range(channels or 3):
            strength = rng.normal(size=(9, 9)) / (1 + waves[:, None] + waves)
            rows, columns = (np.cos(np.pi * axis * waves + rng.uniform(0, 7)) for axis in (down, across))
            images[index, ..., channel] = rows @ strength @ columns.T
    images /= images.std(axis=(1, 2, 3), keepdims=True)
    if preprocess is None:
        return images.astype(np.float32)
    return np.clip(127 + 60 * images, 0, 255).astype(np.uint8)


def steps(count: int, batch: int) -> Sequence[slice]:
    return [slice(start, start + batch) for start in range(0, count, batch)]

"""From pixels to what a network reads."""

from dataclasses import dataclass

import numpy as np

_CHUNK = 4096  # images counted at once: np.bincount widens each byte to eight


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """`(x - mean) / std` for each channel, in the 0..255 units of the pixels."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

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

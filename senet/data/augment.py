"""Random crops and mirror images, a whole batch at a time."""

from dataclasses import dataclass

import numpy as np

from senet.data.config import DataConfig
from senet.data.preprocess import Preprocess


@dataclass(frozen=True)
class Augment:
    """Pad, cut a random window of the old size, mirror half of the images left to right.

    `crop_padding` is in pixels on each side, 0 for no crop. `fill` is the colour of the padding, one
    value in 0..255 for all channels or one each. The usual recipe pads the normalised image with zeros;
    here the pixels are padded before that, so `fill` is the rounded channel mean, which normalises to
    0 within half a grey level.
    Source: He et al. 2016, arXiv:1512.03385, section 4.2.
    """

    crop_padding: int = 4
    flip: bool = True
    fill: tuple[int, ...] = (0,)

    def __post_init__(self):
        if self.crop_padding < 0:
            raise ValueError(f"`crop_padding` must be 0 or more pixels. Received: {self.crop_padding}.")
        if not self.fill or not all(0 <= value <= 255 for value in self.fill):
            raise ValueError(f"`fill` must hold whole numbers in 0..255. Received: {self.fill}.")

    @classmethod
    def from_config(cls, config: DataConfig, preprocess: Preprocess) -> "Augment | None":
        """What `config` asks for, padded with the mean in `preprocess`; `None` when it asks for nothing."""
        config = config.resolved()
        if not config.crop_padding and not config.flip:
            return None
        fill = tuple(round(value) for value in preprocess.mean)
        return cls(crop_padding=config.crop_padding or 0, flip=bool(config.flip), fill=fill)

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A varied copy of `images`, (N, H, W, C) uint8; `rng` alone decides how."""
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ValueError(
                "Augmentation needs uint8 images of shape (N, H, W, C). "
                f"Received: {images.dtype} of shape {images.shape}."
            )
        if len(self.fill) not in (1, images.shape[-1]):
            raise ValueError(
                f"`fill` must hold one value, or one for each of {images.shape[-1]} channels. "
                f"Received: {self.fill}."
            )
        rows = self._crop(images, rng) if self.crop_padding else images.reshape(*images.shape[:2], -1).copy()
        if self.flip:
            _, _, width, channels = images.shape
            mirror = np.arange(width * channels).reshape(width, channels)[::-1].ravel()
            chosen = rng.random(len(images)) < 0.5
            rows[chosen] = rows[chosen].take(mirror, axis=2)
        return rows.reshape(images.shape)

    def _crop(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Random windows of the padded images, as (N, H, W * C).

        Pixel rows stay whole: copies of W * C bytes cost a tenth of copies of C bytes.
        """
        count, height, width, channels = images.shape
        pad = self.crop_padding
        padded = np.empty((count, height + 2 * pad, (width + 2 * pad) * channels), np.uint8)
        fill = np.broadcast_to(np.array(self.fill, np.uint8), channels)
        padded[...] = np.tile(fill, width + 2 * pad)
        padded[:, pad:-pad, pad * channels : -pad * channels] = images.reshape(count, height, -1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width * channels), axis=(1, 2))
        down, right = rng.integers(0, 2 * pad + 1, size=(2, count))
        return windows[np.arange(count), down, right * channels]

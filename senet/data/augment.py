"""How the images of a training batch are varied."""

from dataclasses import dataclass

import numpy as np

from senet.data.config import AugmentConfig
from senet.data.plan import Plan, Step
from senet.data.preprocess import Preprocess
from senet.data.vary import Vary


@dataclass(frozen=True)
class Augment:
    """All that changes the images of a batch between their decoding and their normalisation.

    `crop_and_flip` acts on the batch at once, `vary` on each image by itself; None for what is not asked for.
    """

    crop_and_flip: "CropAndFlip | None" = None
    vary: Vary | None = None

    @classmethod
    def from_config(cls, config: AugmentConfig, preprocess: Preprocess) -> "Augment":
        """What `config`, resolved, asks for; margins and holes get the mean in `preprocess`."""
        fill = tuple(round(value) for value in preprocess.mean)
        padding = (config.padding or 0) if config.crop == "pad" else 0
        moves = CropAndFlip(padding, bool(config.flip), fill) if padding or config.flip else None
        return cls(moves, Vary.from_config(config, fill))

    def __call__(self, images: np.ndarray, plan: Plan, step: Step) -> np.ndarray:
        """The rows (N, H, W, C) uint8 of a step that are made here, varied; the input may be changed."""
        if self.crop_and_flip is not None:
            images = self.crop_and_flip(images, plan.random_of_step(step), plan.batch, plan.rows)
        if self.vary is not None:
            for row, image in enumerate(images):
                images[row] = self.vary(image, plan.random_of_image(step, row))
        return images


@dataclass(frozen=True)
class CropAndFlip:
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

    def __call__(
        self,
        images: np.ndarray,
        rng: np.random.Generator,
        batch: int | None = None,
        part: slice = slice(None),
    ) -> np.ndarray:
        """`images`, (N, H, W, C) uint8, varied as `rng` alone decides: a copy with padding, else in place.

        They may be the rows `part` of a batch of `batch` images: each gets what it gets in the whole batch.
        """
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
        batch = len(images) if batch is None else batch
        if self.crop_padding:
            down, right = rng.integers(0, 2 * self.crop_padding + 1, size=(2, batch))[:, part]
            images = self._crop(images, down, right)
        if self.flip:
            import cv2  # mirrors a picture at the speed of a copy, where NumPy goes pixel by pixel

            for row in np.flatnonzero(rng.random(batch)[part] < 0.5):
                images[row] = cv2.flip(images[row], 1).reshape(images.shape[1:])
        return images

    def _crop(self, images: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Windows of the padded images, `down` and `right` from their corners.

        Pixel rows stay whole: copies of W * C bytes cost a tenth of copies of C bytes.
        """
        count, height, width, channels = images.shape
        pad = self.crop_padding
        padded = np.empty((count, height + 2 * pad, (width + 2 * pad) * channels), np.uint8)
        fill = np.broadcast_to(np.array(self.fill, np.uint8), channels)
        padded[...] = np.tile(fill, width + 2 * pad)
        padded[:, pad:-pad, pad * channels : -pad * channels] = images.reshape(count, height, -1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width * channels), axis=(1, 2))
        return windows[np.arange(count), down, right * channels].reshape(images.shape)

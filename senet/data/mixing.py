"""Mixing the images of a batch in pairs, and their labels with them.

Rows 2k and 2k + 1 are mixed with each other: an epoch's order is random, so neighbours are random pairs, and
a process that has only its part of a batch has every partner.
"""

from dataclasses import dataclass

import numpy as np

from senet.data.config import AugmentConfig


@dataclass(frozen=True)
class Mix:
    """Mixup or cutmix with one share a batch, drawn from Beta(alpha, alpha); see `AugmentConfig`."""

    mixup: float
    cutmix: float
    probability: float
    classes: int

    @classmethod
    def from_config(cls, config: AugmentConfig, classes: int) -> "Mix | None":
        """What `config` asks for; None when it asks for none."""
        return cls(config.mixup, config.cutmix, config.mix_probability, classes) if config.mixes else None

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """(mixed float32 images (B, H, W, C), shares of labels (B, classes) float32), B even.

        `rng` must be in the same state in every process that has a part of the batch.
        """
        check_even(len(images))
        soft = one_hot(labels, self.classes)
        if rng.random() >= self.probability:
            return images, soft
        cut = bool(self.cutmix) and (not self.mixup or rng.random() < 0.5)
        alpha = self.cutmix if cut else self.mixup
        share = float(rng.beta(alpha, alpha))
        return cutmix(images, soft, share, rng) if cut else mixup(images, soft, share)


def mixup(images: np.ndarray, soft: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """`(1 - share) * x + share * partner`, for images and labels alike.

    Source: Zhang et al. 2018, arXiv:1710.09412.
    """
    keep, give = np.float32(1 - share), np.float32(share)
    return keep * images + give * images[_partners(images)], keep * soft + give * soft[_partners(soft)]


def cutmix(
    images: np.ndarray, soft: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Every image gets one window of its partner, and of its label the window's share of the area.

    The window has the image's aspect and the area `share`, its centre anywhere; what falls outside is lost,
    so labels go by what is left. Source: Yun et al. 2019, arXiv:1905.04899.
    """
    height, width = images.shape[1:3]
    top, bottom = _cut(height, share, rng)
    left, right = _cut(width, share, rng)
    mixed = images.copy()
    mixed[:, top:bottom, left:right] = images[_partners(images), top:bottom, left:right]
    real = np.float32((bottom - top) * (right - left) / (height * width))
    return mixed, (1 - real) * soft + real * soft[_partners(soft)]


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """(B,) class indices to (B, classes) float32."""
    soft = np.zeros((len(labels), classes), np.float32)
    soft[np.arange(len(labels)), labels] = 1
    return soft


def check_even(rows: int) -> None:
    """ValueError unless images can be mixed in pairs."""
    if rows % 2:
        raise ValueError(
            "Mixing needs an even number of images a batch in each process. "
            f"Received: {rows}. Change `batch`, or set mixup and cutmix to 0."
        )


def _partners(rows: np.ndarray) -> np.ndarray:
    return np.arange(len(rows)) ^ 1


def _cut(length: int, share: float, rng: np.random.Generator) -> tuple[int, int]:
    """First and last pixel of a window of `length * sqrt(share)` around a pixel drawn from all."""
    side = round(length * share**0.5)
    low = int(rng.integers(length)) - side // 2
    return max(low, 0), min(low + side, length)

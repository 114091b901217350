"""What to train on, as a frozen, validated record."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, model_validator

DIGITS = "digits"
NAMED_SOURCES = (DIGITS, "cifar10", "cifar100")
TFDS = "tfds:"
SHARD = "train-*.tar"  # what a folder of shards holds

Range = tuple[float, float]


class ColorJitter(BaseModel, frozen=True, extra="forbid"):
    """How far colours may go; 0 leaves them alone.

    A factor is drawn from [1 - x, 1 + x] for `brightness`, `contrast` and `saturation`, each in 0..1; a
    turn from [-hue, hue] of the colour circle, `hue` in 0..0.5.
    """

    brightness: float = Field(default=0.0, ge=0, le=1)
    contrast: float = Field(default=0.0, ge=0, le=1)
    saturation: float = Field(default=0.0, ge=0, le=1)
    hue: float = Field(default=0.0, ge=0, le=0.5)


class RandAugment(BaseModel, frozen=True, extra="forbid"):
    """`number` operations an image, drawn with repetition, of strength `magnitude` in 0..30; 0 for none.

    Source: Cubuk et al. 2020, arXiv:1909.13719.
    """

    number: int = Field(default=0, ge=0)
    magnitude: float = Field(default=9.0, ge=0, le=30)


class AugmentConfig(BaseModel, frozen=True, extra="forbid"):
    """How training images are varied, in this order; `None`: see `DataConfig.resolved`.

    - `crop`: `"pad"`: add `padding` pixels on each side and cut a window of the old size; `"random_resized"`:
      cut a window of `scale` of the area and of an aspect (width / height) in `ratio`, and resize it;
      `"none"`: the picture as evaluation sees it.
    - `filter`: of the resize of `"random_resized"`: `"area"`, the mean of the pixels that become one, by
      OpenCV, in half the time of `"bilinear"` and `"bicubic"`, which are Pillow's. All are antialiased.
    - `flip`: mirror half of the images left to right.
    - `rotation`: by up to so many degrees either way.
    - `color_jitter`, `rand_augment`: see there.
    - `pixel_jitter`: up to so many grey levels added to each channel, one draw a channel.
    - `erasing`: the share of images in which a rectangle is replaced by noise.
    - `cutout`: side of a square, in pixels, that is set to the mean colour; 0 for none.
    - `mixup`, `cutmix`: the parameter of the Beta distribution that the share of the second image is drawn
      from; 0 for none. With both, each batch gets one of them. Labels become shares, (B, classes) float32.
    - `mix_probability`: the share of batches that are mixed at all.
    """

    crop: Literal["pad", "random_resized", "none"] | None = None
    padding: int | None = Field(default=None, ge=0)
    scale: Range = (0.08, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    filter: Literal["area", "bilinear", "bicubic"] = "area"
    flip: bool | None = None
    rotation: float = Field(default=0.0, ge=0, le=180)
    color_jitter: ColorJitter = ColorJitter()
    rand_augment: RandAugment = RandAugment()
    pixel_jitter: float = Field(default=0.0, ge=0, le=255)
    erasing: float = Field(default=0.0, ge=0, le=1)
    cutout: int = Field(default=0, ge=0)
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)
    mix_probability: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def ranges_rise(self) -> "AugmentConfig":
        for name, (low, high), most in (("scale", self.scale, 1.0), ("ratio", self.ratio, float("inf"))):
            if not 0 < low <= high <= most:
                limit = " and not exceed 1" if most == 1 else ""
                raise ValueError(f"`{name}` must be [low, high], rise{limit}, above 0. Received: {low, high}")
        return self

    @property
    def mixes(self) -> bool:
        """Whether batches come with shares of labels, (B, classes), in place of class indices."""
        return bool(self.mix_probability and (self.mixup or self.cutmix))


class DataConfig(BaseModel, frozen=True, extra="forbid"):
    """A data source, how its training images are divided, and how they are varied.

    - `source`: `"digits"`, `"cifar10"`, `"cifar100"`, `"tfds:NAME"` (TensorFlow Datasets), or a path: class
      folders, the original CIFAR python batches, a tar archive of either, or a folder of tar shards
      (`train-000000.tar`, …). A name wins over a folder so called; write `./digits` for that.
    - `streaming`: read images from disk when they are needed, in `workers` processes, instead of decoding
      all of them into memory first. Shards and TensorFlow Datasets are always streamed.
    - `workers`: processes that read and vary streamed images; 0 for none beside this one. `None`: one for
      each core. It does not change what they give.
    - `validation`: images held out of the training images, class-balanced, to choose by. They depend on
      `split_seed` alone, so runs with different seeds and limits share them. 0, the default, trains on
      everything, as the paper does: set it (5000 is usual for CIFAR) while something is still to be chosen.
    - `train_limit`: use only so many of the remaining training images, class-balanced; a smaller limit
      takes a part of what a larger one takes. `None` uses all.
    - `image_size`: side in pixels. In memory, each image is resized (short side, antialiased) and cut to
      the centre square as it is read; `None` keeps the size, which must then be the same for all. Streamed,
      it is the side of the training crop; `None` is 224.
    - `filter`: of the resize at evaluation, and into memory: `"bilinear"` or `"bicubic"`, antialiased.
    - `crop_fraction`: of streamed images at evaluation: the short side is resized to `image_size /
      crop_fraction` and the centre is cut out. 0.875 is 224 of 256.
    - `augment`: how training images are varied.
    - `max_unreadable`: the share of files that may be unreadable. They are left out (streamed: the next
      readable one of the epoch takes the place), counted and named; beyond the share the run fails.
    - `cache`: folder for unpacked archives, decoded images and indices. `None`: `$SENET_CACHE`, else
      `$XDG_CACHE_HOME/senet`, else `~/.cache/senet`.
    """

    source: str = Field(default=DIGITS, min_length=1)
    streaming: bool = False
    workers: int | None = Field(default=None, ge=0)
    validation: int = Field(default=0, ge=0)
    split_seed: int = Field(default=0, ge=0)
    train_limit: int | None = Field(default=None, ge=1)
    image_size: int | None = Field(default=None, ge=1)
    filter: Literal["bilinear", "bicubic"] = "bicubic"
    crop_fraction: float = Field(default=0.875, gt=0, le=1)
    augment: AugmentConfig = AugmentConfig()
    max_unreadable: float = Field(default=0.05, ge=0, le=1)
    cache: Path | None = None

    @model_validator(mode="after")
    def only_files_are_streamed(self) -> "DataConfig":
        if self.streaming and self.source in NAMED_SOURCES:
            raise ValueError(f"`streaming` needs files on disk. Received: source={self.source!r}")
        return self

    @property
    def streams(self) -> bool:
        """Whether images are read from disk when they are needed."""
        if self.streaming or self.source.startswith(TFDS):
            return True
        return self.source not in NAMED_SOURCES and any(Path(self.source).expanduser().glob(SHARD))

    def resolved(self) -> "DataConfig":
        """The same record with every `None` decided that belongs to the experiment, the only place for it.

        Digits: 1 pixel of padding (they are 8x8) and no flip, because a mirrored digit is another digit.
        Streamed: 224 pixels, random resized crops and flips, as in Szegedy et al. 2015, arXiv:1409.4842.
        Everything else: 4 pixels and flips, as in He et al. 2016, arXiv:1512.03385, section 4.2.
        `cache` and `workers` stay `None`: they belong to the machine.
        """
        digits, streams = self.source == DIGITS, self.streams
        usual = {
            "crop": "random_resized" if streams else "pad",
            "padding": 1 if digits else 4,
            "flip": not digits,
        }
        missing = {key: value for key, value in usual.items() if getattr(self.augment, key) is None}
        changed = {
            "augment": self.augment.model_copy(update=missing),
            "streaming": streams,
            "image_size": self.image_size or (224 if streams else None),
        }
        return self.model_copy(update=changed)

"""What to train on, as a frozen, validated record."""

from pathlib import Path

from pydantic import BaseModel, Field

DIGITS = "digits"
NAMED_SOURCES = (DIGITS, "cifar10", "cifar100")


class DataConfig(BaseModel, frozen=True, extra="forbid"):
    """A data source, how its training images are divided, and how they are varied.

    - `source`: `"digits"`, `"cifar10"`, `"cifar100"`, or a path: class folders, the original CIFAR python
      batches, or a tar archive of either. A name wins over a folder so called; write `./digits` for that.
    - `validation`: images held out of the training images, class-balanced, to choose by. They depend on
      `split_seed` alone, so runs with different seeds and limits share them. 0, the default, trains on
      everything, as the paper does: set it (5000 is usual for CIFAR) while something is still to be chosen.
    - `train_limit`: use only so many of the remaining training images, class-balanced; a smaller limit
      takes a part of what a larger one takes. `None` uses all.
    - `image_size`: side in pixels; each image is resized (short side, antialiased bicubic) and cut to the
      centre square as it is read. `None` keeps the size, which must then be the same for all.
    - `crop_padding`: pixels added on each side before the random crop, 0 for no crop. `None`: see `resolved`.
    - `flip`: mirror half of the training images left to right. `None`: see `resolved`.
    - `strict`: refuse a source with unreadable image files instead of leaving them out.
    - `cache`: folder for unpacked archives and decoded images. `None`: `$SENET_CACHE`, else
      `$XDG_CACHE_HOME/senet`, else `~/.cache/senet`.
    """

    source: str = Field(default=DIGITS, min_length=1)
    validation: int = Field(default=0, ge=0)
    split_seed: int = Field(default=0, ge=0)
    train_limit: int | None = Field(default=None, ge=1)
    image_size: int | None = Field(default=None, ge=1)
    crop_padding: int | None = Field(default=None, ge=0)
    flip: bool | None = None
    strict: bool = False
    cache: Path | None = None

    def resolved(self) -> "DataConfig":
        """The same record with `crop_padding` and `flip` decided, the only place that decides them.

        Digits: 1 pixel (they are 8x8) and no flip, because a mirrored digit is another digit.
        Everything else: 4 pixels and flips, as in He et al. 2016, arXiv:1512.03385, section 4.2.
        `cache` stays `None`: it belongs to the machine, not to the experiment.
        """
        digits = self.source == DIGITS
        padding, flip = self.crop_padding, self.flip
        if padding is None:
            padding = 1 if digits else 4
        if flip is None:
            flip = not digits
        return self.model_copy(update={"crop_padding": padding, "flip": flip})

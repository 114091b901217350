"""A network is one frozen row: everything that tells one network from another, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from senet.errors import did_you_mean
from senet.layers.conv import POOLS
from senet.layers.squeeze_excite import SESpec, check_choice

EXPANSION = {"basic": 1, "bottleneck": 4}  # output channels of a block over its width
STEMS = ("imagenet", "cifar")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One residual stage, worked out of a spec: (N, H, W, ·) to (N, ⌈H/stride⌉, ⌈W/stride⌉, channels)."""

    number: int  # from 1
    width: int  # channels of the 3×3 convolutions
    channels: int  # channels after the sum
    stride: int  # of the first block
    stride_on: str
    act: str
    se: SESpec | None  # None also where the spec's SE leaves this stage out
    drop_path: tuple[float, ...]  # rate of each block


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualSpec:
    """A residual network with or without SE.

    Args:
        block: "basic" (two 3×3) or "bottleneck" (1×1, 3×3, 1×1 to four times the width).
        blocks: blocks in each stage.
        widths: channels of the 3×3 convolutions in each stage.
        stem: "imagenet" (7×7 stride 2, then a 3×3 max pool stride 2) or "cifar" (3×3 stride 1, no pool).
        stem_width: channels of the stem.
        stem_pool: rule of the max pool, "ceil" (Caffe: the released networks) or "pad" (PyTorch).
        stride_on: convolution of a bottleneck that carries the stride: "1x1", the first (the released
            SE-ResNets; 3.86 G multiply-adds for ResNet-50), or "3x3" ("v1.5", 4.09 G).
        se: the SE blocks, or None for the plain twin.
        act: activation of the convolutions, a Keras name.
        bn_epsilon, bn_momentum: BatchNorm; the momentum is the share that is kept (Caffe's and PyTorch's
            defaults are 1e-5 and 0.9; Keras' own are 1e-3 and 0.99).
        dropout: rate before the classifier.
        drop_path: stochastic depth (Huang et al. 2016): rate of the last block, growing linearly from 0.
        classes, image_size, channels: what the network is for where the caller does not say.
    """

    block: str
    blocks: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: str = "imagenet"
    stem_width: int = 64
    stem_pool: str = "ceil"
    stride_on: str = "1x1"
    se: SESpec | None = None
    act: str = "relu"
    bn_epsilon: float = 1e-5
    bn_momentum: float = 0.9
    dropout: float = 0.0
    drop_path: float = 0.0
    classes: int = 1000
    image_size: int = 224
    channels: int = 3

    def __post_init__(self) -> None:
        check_choice("Network", "block", self.block, tuple(EXPANSION))
        check_choice("Network", "stem", self.stem, STEMS)
        check_choice("Network", "stem_pool", self.stem_pool, POOLS)
        check_choice("Network", "stride_on", self.stride_on, ("1x1", "3x3"))
        for field in ("blocks", "widths"):
            object.__setattr__(self, field, tuple(getattr(self, field)))  # a list, from a recipe
        if self.se is not None and not isinstance(self.se, SESpec):
            raise ValueError(f"Network: `se` must be None or an SESpec. Received: se={self.se!r}.")
        same = len(self.blocks) == len(self.widths) > 0
        if not same or min(*self.blocks, *self.widths) < 1:
            raise ValueError(
                "Network: `blocks` and `widths` must name the same stages, in numbers from 1. "
                f"Received: blocks={self.blocks}, widths={self.widths}."
            )
        for field in ("dropout", "drop_path"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"Network: `{field}` must be in [0, 1). Received: {getattr(self, field)}.")
        outside = set(self.se.stages or ()) - set(range(1, len(self.blocks) + 1)) if self.se else set()
        if outside:
            raise ValueError(
                f"SE: `stages` must lie in 1..{len(self.blocks)} here. Received: {sorted(outside)}."
            )

    @property
    def stem_stride(self) -> int:
        """Input pixels per pixel after the stem."""
        return 4 if self.stem == "imagenet" else 1

    @property
    def stride(self) -> int:
        """Input pixels per pixel of the last feature map; also the smallest side of an input."""
        return self.stem_stride * 2 ** (len(self.blocks) - 1)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in order; the first keeps the stem's size, every further one halves it."""
        total, before, rows = sum(self.blocks), 0, []
        for number, (blocks, width) in enumerate(zip(self.blocks, self.widths, strict=True), start=1):
            has_se = self.se is not None and (self.se.stages is None or number in self.se.stages)
            rates = (self.drop_path * (before + i) / max(1, total - 1) for i in range(blocks))
            rows.append(
                Stage(
                    number=number,
                    width=width,
                    channels=width * EXPANSION[self.block],
                    stride=1 if number == 1 else 2,
                    stride_on=self.stride_on,
                    act=self.act,
                    se=self.se if has_se else None,
                    drop_path=tuple(rates),
                )
            )
            before += blocks
        return tuple(rows)

    def change(self, **changes: Any) -> ResidualSpec:
        """This row with other values; ValueError with the nearest name for a field that does not exist.

        `se` may be a mapping of SESpec's fields, as a recipe or a JSON file has it.
        """
        if isinstance(changes.get("se"), Mapping):
            changes["se"] = SESpec(**checked_fields(SESpec, changes["se"]))
        return dataclasses.replace(self, **checked_fields(type(self), changes))


def checked_fields(owner: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as a dict, every key a field of the dataclass `owner`."""
    known = [field.name for field in dataclasses.fields(owner)]
    for key in values:
        if key not in known:
            raise ValueError(
                f"{key!r} is not an option of {owner.__name__}.{did_you_mean(key, known)} "
                f"It has {', '.join(known)}."
            )
    return dict(values)

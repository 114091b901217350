"""A network is one frozen row: everything that tells one network from another, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from senet.errors import did_you_mean
from senet.layers.conv import POOLS
from senet.layers.shake import MIXES
from senet.layers.squeeze_excite import SESpec, check_choice

if TYPE_CHECKING:
    from typing_extensions import Self

EXPANSION = {"basic": 1, "bottleneck": 4}  # output channels of a block over its width, where a row is silent
STEMS = ("imagenet", "deep", "cifar", "conv")
STEM_POOLS = (*POOLS, "avg", "stride")
SHORTCUTS = ("1x1", "3x3", "avg", "shifted")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """What every network has, whatever its family.

    Args:
        se: the SE blocks, or None for the plain twin.
        act: activation of the convolutions, a Keras name.
        bn_epsilon, bn_momentum: BatchNorm; the momentum is the share that is kept (Caffe's and PyTorch's
            defaults are 1e-5 and 0.9; Keras' own are 1e-3 and 0.99).
        dropout: rate before the classifier.
        classes, image_size, channels: what the network is for where the caller does not say.
    """

    se: SESpec | None = None
    act: str = "relu"
    bn_epsilon: float = 1e-5
    bn_momentum: float = 0.9
    dropout: float = 0.0
    classes: int = 1000
    image_size: int = 224
    channels: int = 3

    RATES: ClassVar[tuple[str, ...]] = ("dropout",)

    def __post_init__(self) -> None:
        if self.se is not None and not isinstance(self.se, SESpec):
            raise ValueError(f"Network: `se` must be None or an SESpec. Received: se={self.se!r}.")
        for field in self.RATES:
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"Network: `{field}` must be in [0, 1). Received: {getattr(self, field)}.")

    @property
    def stride(self) -> int:
        """Input pixels per pixel of the last feature map; also the smallest side of an input."""
        return 32

    def change(self, **changes: Any) -> Self:
        """This row with other values; ValueError with the nearest name for a field that does not exist.

        `se` may be a mapping of SESpec's fields, as a recipe or a JSON file has it.
        """
        if isinstance(changes.get("se"), Mapping):
            changes["se"] = SESpec(**checked_fields(SESpec, changes["se"]))
        return dataclasses.replace(self, **checked_fields(type(self), changes))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One residual stage, worked out of a spec: (N, H, W, ·) to (N, ⌈H/stride⌉, ⌈W/stride⌉, channels)."""

    number: int  # from 1
    width: int  # channels of the 3×3 convolutions
    reduce: int  # channels of a bottleneck's first 1×1 convolution
    groups: int  # of the 3×3 convolutions of a bottleneck
    channels: int  # channels after the sum
    stride: int  # of the first block
    stride_on: str
    antialias: bool
    shortcut: str
    act: str
    act_before_se: bool
    mix: str | None
    se: SESpec | None  # None also where the spec's SE leaves this stage out
    drop_path: tuple[float, ...]  # rate of each block


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualSpec(Spec):
    """A residual network with or without SE. The fields of `Spec`, and:

    Args:
        block: "basic" (two 3×3) or "bottleneck" (1×1, 3×3, 1×1).
        blocks: blocks in each stage.
        widths: channels of the 3×3 convolutions in each stage.
        expansion: output channels of a block over its width; default 1 for basic blocks and 4 for
            bottlenecks. ResNeXt 32×4d has 2, SENet-154 has 1.
        groups: groups of a bottleneck's 3×3 convolution (ResNeXt's cardinality), or
        group_width: channels of one group, where their number grows with the width (timm's `ts` networks).
        halved_reduce: the first 1×1 of a bottleneck has half the width (SENet-154).
        preactivation: BatchNorm and activation before each convolution (He et al. 2016b), and
        last_norm: once more after the last stage (pytorchcv's CIFAR networks with SE lack it).
        mix: two branches a block instead of one, mixed at random: "shake_shake" or "shake_even"
            (Gastaldi 2017).
        stem: "imagenet" (7×7 stride 2, then a pool), "deep" (three 3×3, the first with stride 2, then a
            pool), "cifar" (3×3 stride 1, no pool) or "conv" (the same without BatchNorm and activation).
        stem_width: channels of the stem.
        stem_hidden: channels of the first two convolutions of a deep stem; timm's "tiered" stem grows here.
        stem_pool: "ceil" (max, Caffe's rule: the released networks), "pad" (max, PyTorch's rule), "avg"
            (mean of 2×2, timm's anti-aliased networks) or "stride" (none: the last convolution has stride 2).
        stride_on: convolution of a bottleneck that carries the stride: "1x1", the first (the released
            SE-ResNets; 3.86 G multiply-adds for ResNet-50), or "3x3" ("v1.5", 4.09 G).
        antialias: the strided 3×3 convolution has stride 1, and a mean of 2×2 follows (timm's `aa`).
        shortcut: how a shortcut changes its shape: "1x1" (convolution), "3x3" (SENet-154; 1×1 in the
            first stage), "avg" (mean of 2×2, then 1×1; timm's `d`) or "shifted" (Shake-Shake's).
        act_before_se: one more activation before the SE block (timm's legacy_seresnet18 and 34).
        head_width: channels of a 1×1 convolution before the pool, 0 for none.
        drop_path: stochastic depth (Huang et al. 2016): rate of the last block, growing linearly from 0.
    """

    block: str
    blocks: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    expansion: int | None = None
    groups: int = 1
    group_width: int | None = None
    halved_reduce: bool = False
    preactivation: bool = False
    last_norm: bool = True
    mix: str | None = None
    stem: str = "imagenet"
    stem_width: int = 64
    stem_hidden: tuple[int, int] = (32, 32)
    stem_pool: str = "ceil"
    stride_on: str = "1x1"
    antialias: bool = False
    shortcut: str = "1x1"
    act_before_se: bool = False
    head_width: int = 0
    drop_path: float = 0.0

    RATES: ClassVar[tuple[str, ...]] = ("dropout", "drop_path")

    def __post_init__(self) -> None:
        check_choice("Network", "block", self.block, tuple(EXPANSION))
        check_choice("Network", "stem", self.stem, STEMS)
        check_choice("Network", "stem_pool", self.stem_pool, STEM_POOLS)
        check_choice("Network", "stride_on", self.stride_on, ("1x1", "3x3"))
        check_choice("Network", "shortcut", self.shortcut, SHORTCUTS)
        if self.mix is not None:
            check_choice("Network", "mix", self.mix, MIXES)
        for field in ("blocks", "widths", "stem_hidden"):
            object.__setattr__(self, field, tuple(getattr(self, field)))  # a list, from a recipe
        super().__post_init__()
        same = len(self.blocks) == len(self.widths) > 0
        if not same or min(*self.blocks, *self.widths) < 1:
            raise ValueError(
                "Network: `blocks` and `widths` must name the same stages, in numbers from 1. "
                f"Received: blocks={self.blocks}, widths={self.widths}."
            )
        if self.preactivation and self.mix:
            raise ValueError("Network: `mix` and `preactivation` do not go together.")
        if self.block == "basic" and (self.groups > 1 or self.group_width or self.halved_reduce):
            raise ValueError("Network: only block='bottleneck' has `groups`, `group_width`, `halved_reduce`.")
        if any(width % self.groups_of(width) for width in self.widths):
            raise ValueError(
                f"Network: `groups` must divide every width. Received: groups={self.groups}, "
                f"group_width={self.group_width}, widths={self.widths}."
            )
        outside = set(self.se.stages or ()) - set(range(1, len(self.blocks) + 1)) if self.se else set()
        if outside:
            raise ValueError(
                f"SE: `stages` must lie in 1..{len(self.blocks)} here. Received: {sorted(outside)}."
            )

    def groups_of(self, width: int) -> int:
        """Groups of a 3×3 convolution with `width` channels."""
        return self.groups if self.group_width is None else max(1, width // self.group_width)

    @property
    def stem_stride(self) -> int:
        """Input pixels per pixel after the stem."""
        return 4 if self.stem in ("imagenet", "deep") else 1

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
                    reduce=width // 2 if self.halved_reduce else width,
                    groups=self.groups_of(width),
                    channels=width * (self.expansion or EXPANSION[self.block]),
                    stride=1 if number == 1 else 2,
                    stride_on=self.stride_on,
                    antialias=self.antialias,
                    # A first stage keeps its size, and so its projection at 1×1 (SENet-154).
                    shortcut="1x1" if self.shortcut == "3x3" and number == 1 else self.shortcut,
                    act=self.act,
                    act_before_se=self.act_before_se,
                    mix=self.mix,
                    se=self.se if has_se else None,
                    drop_path=tuple(rates),
                )
            )
            before += blocks
        return tuple(rows)


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

"""The paper's ablations of the SE block (Tables 10 to 16) as spec changes, counted beside its figures."""

from __future__ import annotations

import dataclasses

from senet.complexity import complexity
from senet.layers.squeeze_excite import SESpec
from senet.zoo import create_model

NETWORK = "se_resnet_50"
SIDE = 224


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablation:
    """A row of a table: the change, and what the paper prints (None where it prints nothing).

    The errors are the paper's, in percent, single crop; nothing here was trained.
    """

    table: int
    variant: str
    se: SESpec | None
    top1_error: float
    top5_error: float
    millions: float | None = None  # parameters
    giga: float | None = None  # multiply-adds


def without_bias(**fields) -> SESpec:
    """An SE block as the paper's ablations have it: no biases in the two layers (section 6)."""
    return SESpec(bias=False, **fields)


# arXiv:1709.01507, version 4. Its "stage 2" is the first residual stage: 1 here.
ABLATIONS = (
    Ablation(
        table=10, variant="ResNet-50", se=None, top1_error=23.30, top5_error=6.55, millions=25.6, giga=3.86
    ),
    Ablation(
        table=10, variant="r = 2", se=without_bias(ratio=2), top1_error=22.29, top5_error=6.00, millions=45.7
    ),
    Ablation(
        table=10, variant="r = 4", se=without_bias(ratio=4), top1_error=22.25, top5_error=6.09, millions=35.7
    ),
    Ablation(
        table=10, variant="r = 8", se=without_bias(ratio=8), top1_error=22.26, top5_error=5.99, millions=30.7
    ),
    Ablation(
        table=10,
        variant="r = 16",
        se=without_bias(),
        top1_error=22.28,
        top5_error=6.03,
        millions=28.1,
        giga=3.87,
    ),
    Ablation(
        table=10,
        variant="r = 32",
        se=without_bias(ratio=32),
        top1_error=22.72,
        top5_error=6.20,
        millions=26.9,
    ),
    Ablation(
        table=11, variant="max squeeze", se=without_bias(squeeze="max"), top1_error=22.57, top5_error=6.09
    ),
    Ablation(table=12, variant="ReLU gate", se=without_bias(gate="relu"), top1_error=23.47, top5_error=6.98),
    Ablation(table=12, variant="tanh gate", se=without_bias(gate="tanh"), top1_error=23.00, top5_error=6.38),
    Ablation(
        table=13,
        variant="stage 2",
        se=without_bias(stages=(1,)),
        top1_error=23.03,
        top5_error=6.48,
        millions=25.6,
        giga=3.86,
    ),
    Ablation(
        table=13,
        variant="stage 3",
        se=without_bias(stages=(2,)),
        top1_error=23.04,
        top5_error=6.32,
        millions=25.7,
        giga=3.86,
    ),
    Ablation(
        table=13,
        variant="stage 4",
        se=without_bias(stages=(3,)),
        top1_error=22.68,
        top5_error=6.22,
        millions=26.4,
        giga=3.86,
    ),
    Ablation(table=14, variant="SE-PRE", se=without_bias(position="pre"), top1_error=22.23, top5_error=6.00),
    Ablation(
        table=14, variant="SE-POST", se=without_bias(position="post"), top1_error=22.78, top5_error=6.35
    ),
    Ablation(
        table=14,
        variant="SE-Identity",
        se=without_bias(position="identity"),
        top1_error=22.20,
        top5_error=6.15,
    ),
    Ablation(
        table=15,
        variant="SE 3×3",
        se=without_bias(position="3x3"),
        top1_error=22.48,
        top5_error=6.02,
        millions=25.8,
        giga=3.86,
    ),
    Ablation(
        table=16,
        variant="NoSqueeze",
        se=without_bias(squeeze="none"),
        top1_error=22.93,
        top5_error=6.39,
        millions=28.1,
        giga=4.27,
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counted:
    """An ablation and what its built network counts at 224×224."""

    ablation: Ablation
    parameters: int  # with BatchNorm's moving statistics, which the paper's figures include
    trainable_parameters: int
    multiply_adds: int

    @property
    def differs(self) -> tuple[str, ...]:
        """ "parameters" and "multiply-adds" where ours, rounded as the paper's, is another number."""
        pairs = {
            "parameters": (self.ablation.millions, round(self.parameters / 1e6, 1)),
            "multiply-adds": (self.ablation.giga, round(self.multiply_adds / 1e9, 2)),
        }
        return tuple(what for what, (paper, ours) in pairs.items() if paper not in (None, ours))

    def to_json(self) -> dict[str, object]:
        return {**dataclasses.asdict(self), "differs": self.differs}


def count_ablations() -> list[Counted]:
    """Build every row's network and count it; some twenty seconds."""
    return [count(ablation) for ablation in ABLATIONS]


def count(ablation: Ablation) -> Counted:
    """Build one row's network and count it."""
    counts = complexity(create_model(NETWORK, se=ablation.se), SIDE)
    return Counted(
        ablation=ablation,
        parameters=counts.total_parameters,
        trainable_parameters=counts.trainable_parameters,
        multiply_adds=counts.multiply_adds,
    )

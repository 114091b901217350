"""Write docs/complexity.md: the counts of the package beside those of the paper.

python docs/make_complexity.py
"""

from __future__ import annotations

from pathlib import Path

from senet.bench.report import markdown_table
from senet.complexity import counted
from senet.files import write_text

PAGE = Path(__file__).with_name("complexity.md")

# Tables 2 and 3 of arXiv:1709.01507 (version 4): GFLOPs, which are multiply-adds.
PAPER = {
    "resnet_50": 3.86,
    "se_resnet_50": 3.87,
    "resnet_101": 7.58,
    "se_resnet_101": 7.60,
    "resnet_152": 11.30,
    "se_resnet_152": 11.32,
    "resnext_50_32x4d": 4.24,
    "se_resnext_50_32x4d": 4.25,
    "resnext_101_32x4d": 7.99,
    "se_resnext_101_32x4d": 8.00,
    "vgg_16": 15.47,
    "se_vgg_16": 15.48,
    "bn_inception": 2.03,
    "se_bn_inception": 2.04,
    "inception_resnet_v2": 11.75,
    "se_inception_resnet_v2": 11.76,
    "mobilenet": 0.569,
    "se_mobilenet": 0.572,
    "shufflenet_g3": 0.140,
    "se_shufflenet_g3": 0.142,
}

TEXT = """# What the networks cost

Written by `python docs/make_complexity.py` from `senet/complexity.json`; the tests count the built models against
it. Multiply-adds are for one image; parameters are the trainable ones.

## Beside the paper

{paper}

`senet.complexity` counts additions, each with the multiplication before it where there is one: convolutions,
dense layers, the squeeze, and the residual sum, whose multiplication is the SE scale where the block has one (the
authors' Caffe networks do both in one `Axpy` layer). Biases, BatchNorm, activations and pools are not counted.

{met} of the {all} figures are met, rounded as the paper prints them; most others are one unit of its last digit off.
SE-ResNet-101 counts {ours_101:.4f} G where the paper prints 7.60: {gap:.1f} M too few to round up. BatchNorm,
activations and pools, which are left out, are more than that; but no rule meets all ResNets: counting the SE scale as an operation of its own lifts SE-ResNet-101 to {scaled_101:.2f}, and SE-ResNet-50
to {scaled_50:.2f} where the paper prints 3.87. Inception-ResNet-v2 is counted as released (10, 20 and 10 blocks, which
its published weights need, at 299×299): 1.4 G more than the paper prints, which does not say how it counted.

## Every network

{table}
"""


def page() -> str:
    """The page as text."""
    table = counted()
    paper = [[name, shown(printed, printed), shown(ours(name), printed)] for name, printed in PAPER.items()]
    rows = [
        [
            name,
            "×".join(map(str, row.image_shape)),
            f"{row.trainable_parameters:,}",
            f"{row.total_parameters:,}",
            f"{row.multiply_adds / 1e6:,.1f} M",
            f"{row.activations / 1e6:,.2f} M",
        ]
        for name, row in table.items()
    ]
    # What the residual sums write, and so what SE scales: blocks × height × width × channels.
    maps = ((56, 256), (28, 512), (14, 1024), (7, 2048))
    elements = {
        depth: sum(n * side**2 * width for n, (side, width) in zip(blocks, maps, strict=True))
        for depth, blocks in {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}.items()
    }
    ours_101 = table["se_resnet_101"].multiply_adds
    columns = (
        "Network",
        "Image",
        "Trainable parameters",
        "With BatchNorm's statistics",
        "Multiply-adds",
        "Activations",
    )
    return TEXT.format(
        paper="\n".join(markdown_table(("Network", "Paper, Tables 2 and 3", "Counted"), paper)),
        table="\n".join(markdown_table(columns, rows)),
        met=sum(theirs == counts for _, theirs, counts in paper),
        all=len(paper),
        ours_101=ours_101 / 1e9,
        gap=(7.595e9 - ours_101) / 1e6,
        scaled_50=(table["se_resnet_50"].multiply_adds + elements[50]) / 1e9,
        scaled_101=(ours_101 + elements[101]) / 1e9,
    )


def ours(name: str) -> float:
    """Multiply-adds of a network, in G."""
    return counted()[name].multiply_adds / 1e9


def shown(giga: float, printed: float) -> str:
    """A figure with as many digits as the paper prints."""
    return f"{giga:.2f} G" if printed >= 1 else f"{giga * 1e3:.0f} M"


if __name__ == "__main__":
    write_text(PAGE, page())

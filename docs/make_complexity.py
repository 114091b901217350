"""Write docs/complexity.md: the counts of the package beside those of the paper.

python docs/make_complexity.py
"""

from __future__ import annotations

from pathlib import Path

from senet.bench.report import markdown_table
from senet.complexity import counted
from senet.files import write_text

PAGE = Path(__file__).with_name("complexity.md")

# Table 2 of arXiv:1709.01507 (version 4): GFLOPs, which are multiply-adds.
PAPER = {
    "resnet_50": 3.86,
    "se_resnet_50": 3.87,
    "resnet_101": 7.58,
    "se_resnet_101": 7.60,
    "resnet_152": 11.30,
    "se_resnet_152": 11.32,
}

TEXT = """# What the networks cost

Written by `python docs/make_complexity.py` from `senet/complexity.json`; the tests count the built models against
it. Multiply-adds are for one image; parameters are the trainable ones.

## Beside the paper

{paper}

`senet.complexity` counts additions, each with the multiplication before it where there is one: convolutions,
dense layers, the squeeze, and the residual sum, whose multiplication is the SE scale where the block has one (the
authors' Caffe networks do both in one `Axpy` layer). Biases, BatchNorm, activations and pools are not counted.

Five of the six figures are met. SE-ResNet-101 counts {ours_101:.4f} G where the paper prints 7.60: {gap:.1f} M
too few to round up. BatchNorm, activations and pools, which are left out, are more than that; but no rule meets
all six: counting the SE scale as an operation of its own lifts SE-ResNet-101 to {scaled_101:.2f}, and SE-ResNet-50
to {scaled_50:.2f} where the paper prints 3.87.

## Every network

{table}
"""


def page() -> str:
    """The page as text."""
    table = counted()
    paper = [
        [name, f"{printed:.2f} G", f"{table[name].multiply_adds / 1e9:.2f} G"]
        for name, printed in PAPER.items()
    ]
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
        paper="\n".join(markdown_table(("Network", "Paper, Table 2", "Counted"), paper)),
        table="\n".join(markdown_table(columns, rows)),
        ours_101=ours_101 / 1e9,
        gap=(7.595e9 - ours_101) / 1e6,
        scaled_50=(table["se_resnet_50"].multiply_adds + elements[50]) / 1e9,
        scaled_101=(ours_101 + elements[101]) / 1e9,
    )


if __name__ == "__main__":
    write_text(PAGE, page())

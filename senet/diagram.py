"""A network part by part: as rows of numbers, and as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from senet.complexity import LayerCost, Shape, per_layer, resolve_image_shape
from senet.layers.squeeze_excite import SqueezeExcite
from senet.models.spec import ResidualSpec
from senet.training.curves import COLOURS, new_figure, save_figure
from senet.zoo import create_model, get_spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageRow:
    """The stem, a stage, or the head of a network."""

    name: str
    what: str  # in words: "3 bottleneck blocks, 64 → 256 channels, SE 256 → 16"
    output_shape: Shape  # without the batch
    parameters: int  # with BatchNorm's moving statistics
    multiply_adds: int  # for one image
    se_parameters: int


def stage_rows(model: str, image_size: int | None = None) -> list[StageRow]:
    """The parts of a network in the order an image passes them, counted on the built model."""
    spec = get_spec(model)
    network = create_model(model)
    shape = resolve_image_shape(network, image_size or spec.image_size)
    se = {layer.name for layer in network.layers if isinstance(layer, SqueezeExcite)}
    parts: dict[str, list[LayerCost]] = {}
    for row in per_layer(network, shape):
        part = row.name.split("_")[0].rstrip("123") if row.name.startswith("stem") else row.name.split("_")[0]
        parts.setdefault(part if part.startswith(("stem", "stage")) else "head", []).append(row)
    words = describe(spec) if isinstance(spec, ResidualSpec) else {}
    return [
        StageRow(
            name=name,
            what=words.get(name) or f"{rows[-1].output_shape[-1]} channels",
            output_shape=rows[-1].output_shape,
            parameters=sum(row.parameters for row in rows),
            multiply_adds=sum(row.multiply_adds for row in rows),
            se_parameters=sum(row.parameters for row in rows if row.name in se),
        )
        for name, rows in parts.items()
    ]


def describe(spec: ResidualSpec) -> dict[str, str]:
    """What each part is, in words."""
    stem = {"imagenet": "7×7 / 2", "deep": "three 3×3 / 2"}.get(spec.stem, "3×3")
    pool = {"avg": ", mean pool 2×2 / 2", "stride": ""}.get(spec.stem_pool, ", max pool 3×3 / 2")
    stem += pool if spec.stem_stride == 4 else ""
    words = {"stem": f"{stem}, {spec.stem_width} channels", "head": f"mean, {spec.classes} classes"}
    for stage in spec.stages:
        text = f"{len(stage.drop_path)} {spec.block} blocks, "
        text += f"{stage.width} → " * (stage.width != stage.channels) + f"{stage.channels} channels"
        text += f", {stage.groups} groups" if stage.groups > 1 else ""
        if stage.se is not None:
            text += f", SE {stage.channels} → {stage.se.hidden_width(stage.channels)}"
        words[f"stage{stage.number}"] = text
    return words


def draw_network(model: str, rows: Sequence[StageRow], path: Path) -> None:
    """Draw the parts with their output shapes, and each part's share of parameters and multiply-adds."""
    figure, (axis,) = new_figure(1)
    figure.set_size_inches(1.2 + 2.1 * len(rows), 4.8)
    axis.axis("off")
    axis.set(xlim=(-0.6, len(rows) - 0.4), ylim=(-1.3, 0.95))
    parameters, multiply_adds = sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)
    for x, row in enumerate(rows):
        colour = COLOURS[1] if row.se_parameters else COLOURS[0]
        box = {"boxstyle": "round,pad=0.5", "facecolor": colour, "alpha": 0.14, "edgecolor": colour}
        text = (
            f"{row.name}\n\n" + row.what.replace(", ", "\n") + f"\n\n{'×'.join(map(str, row.output_shape))}"
        )
        axis.text(x, 0.45, text, ha="center", va="center", fontsize=8.5, bbox=box)
        if x:
            axis.annotate(
                "", (x - 0.4, 0.45), (x - 0.6, 0.45), arrowprops={"arrowstyle": "->", "color": "0.4"}
            )
        for offset, part, whole, shade in (
            (-0.16, row.parameters, parameters, "0.35"),
            (0.16, row.multiply_adds, multiply_adds, colour),
        ):
            share = part / whole
            axis.bar(x + offset, share, width=0.28, bottom=-1.1, color=shade)
            axis.text(x + offset, share - 1.08, f"{share:.0%}", ha="center", va="bottom", fontsize=8)
    axis.plot([-0.5, len(rows) - 0.5], [-1.1, -1.1], color="0.6", linewidth=0.8)
    axis.text(-0.55, -1.3, "bars: share of parameters (grey) and of multiply-adds (colour)", fontsize=8.5)
    save_figure(
        figure,
        path,
        f"{model}: {parameters / 1e6:.2f} M parameters, {multiply_adds / 1e9:.3f} G multiply-adds",
    )

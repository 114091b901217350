"""How pytorchcv names the tensors of VGG, MobileNet and ShuffleNet.

`PINS` says for each architecture which row it is, and with what changes; `NAMES` which function names its
tensors. A function takes the name of a layer and gives the tensors that fill `layer.weights`, in that order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from senet.weights.names.parts import batch_norm, conv, dense, split

VGG_DENSE = {"fc1": "output.fc1.fc", "fc2": "output.fc2.fc", "classifier": "output.fc3"}
MOBILENET_PLACES = {"depthwise": "dw_conv", "pointwise": "pw_conv"}
SHUFFLENET_PLACES = {"reduce": ("compress", 1), "depthwise": ("dw", 2), "expand": ("expand", 3)}


def vgg(layer: str) -> list[str]:
    """The VGGs with BatchNorm and without biases before it."""
    if layer in VGG_DENSE:
        return dense(VGG_DENSE[layer])
    stage, block, *_, kind = split(layer)
    unit = f"features.stage{stage}.unit{block}"
    return conv(f"{unit}.conv") if kind == "conv" else batch_norm(f"{unit}.bn")


def vgg_with_bias(layer: str) -> list[str]:
    """The same with biases before BatchNorm."""
    names = vgg(layer)
    return dense(names[0].removesuffix(".weight")) if layer.endswith("_conv") else names


def mobilenet(layer: str) -> list[str]:
    """The MobileNets (of 2017)."""
    stage, block, _, place, kind = split(layer)
    if kind == "dense":
        return dense("output")
    unit = f"features.stage{stage}.unit{block}.{MOBILENET_PLACES[place]}" if stage else "features.init_block"
    return conv(f"{unit}.conv") if kind == "conv" else batch_norm(f"{unit}.bn")


def shufflenet(layer: str) -> list[str]:
    """The ShuffleNets (of 2017)."""
    stage, block, _, place, kind = split(layer)
    if kind == "dense":
        return dense("output")
    if not stage:
        unit = f"features.init_block.{kind}"
    else:
        step, number = SHUFFLENET_PLACES[place]
        unit = f"features.stage{stage}.unit{block}.{step}_{kind}{number}"
    return conv(unit) if kind == "conv" else batch_norm(unit)


def vgg_pin(*blocks: int, **changes: Any) -> tuple[str, dict[str, Any]]:
    return "vgg_16", {"blocks": blocks, **changes}


def mobilenet_pin(share: float) -> tuple[str, dict[str, Any]]:
    widths = tuple(int(width * share) for width in (64, 128, 256, 512, 1024))
    return "mobilenet", {"widths": widths, "stem_width": int(32 * share)}


def shufflenet_pin(groups: int, first: int, share: float = 1.0) -> tuple[str, dict[str, Any]]:
    """`first` is the width of the first stage in Table 1 of the ShuffleNet paper."""
    widths = tuple(int(width * share) for width in (first, 2 * first, 4 * first))
    return "shufflenet_g3", {"groups": groups, "widths": widths, "stem_width": int(24 * share)}


PINS: dict[str, tuple[str, dict[str, Any]]] = {
    "pytorchcv/bn_vgg11": vgg_pin(1, 1, 2, 2, 2),
    "pytorchcv/bn_vgg13": vgg_pin(2, 2, 2, 2, 2),
    "pytorchcv/bn_vgg16": ("vgg_16", {}),
    "pytorchcv/bn_vgg19": vgg_pin(2, 2, 4, 4, 4),
    "pytorchcv/bn_vgg11b": vgg_pin(1, 1, 2, 2, 2, conv_bias=True),
    "pytorchcv/bn_vgg13b": vgg_pin(2, 2, 2, 2, 2, conv_bias=True),
    "pytorchcv/bn_vgg16b": ("vgg_16", {"conv_bias": True}),
    "pytorchcv/bn_vgg19b": vgg_pin(2, 2, 4, 4, 4, conv_bias=True),
    "pytorchcv/mobilenet_w1": ("mobilenet", {}),
    "pytorchcv/mobilenet_w3d4": mobilenet_pin(0.75),
    "pytorchcv/mobilenet_wd2": mobilenet_pin(0.5),
    "pytorchcv/mobilenet_wd4": mobilenet_pin(0.25),
    "pytorchcv/shufflenet_g1_w1": shufflenet_pin(1, 144),
    "pytorchcv/shufflenet_g2_w1": shufflenet_pin(2, 200),
    "pytorchcv/shufflenet_g3_w1": ("shufflenet_g3", {}),
    "pytorchcv/shufflenet_g4_w1": shufflenet_pin(4, 272),
    "pytorchcv/shufflenet_g8_w1": shufflenet_pin(8, 384),
    "pytorchcv/shufflenet_g1_w3d4": shufflenet_pin(1, 144, 0.75),
    "pytorchcv/shufflenet_g3_w3d4": shufflenet_pin(3, 240, 0.75),
    "pytorchcv/shufflenet_g1_wd2": shufflenet_pin(1, 144, 0.5),
    "pytorchcv/shufflenet_g3_wd2": shufflenet_pin(3, 240, 0.5),
    "pytorchcv/shufflenet_g1_wd4": shufflenet_pin(1, 144, 0.25),
    "pytorchcv/shufflenet_g3_wd4": shufflenet_pin(3, 240, 0.25),
}
NAMES: dict[str, Callable[[str], list[str]]] = {
    architecture: {"vgg_16": vgg, "mobilenet": mobilenet, "shufflenet_g3": shufflenet}[row]
    if not changes.get("conv_bias")
    else vgg_with_bias
    for architecture, (row, changes) in PINS.items()
}

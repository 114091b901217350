"""How the sources name the tensors of the Inception networks.

`PINS` says for each architecture of a source which row it is, and with what changes; `NAMES` which function
of this module names its tensors. A function takes the name of a layer and gives the tensors that fill
`layer.weights`, in that order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from senet.weights.names.caffe import batch_norm as caffe_batch_norm
from senet.weights.names.caffe import blobs
from senet.weights.names.parts import batch_norm, conv, dense, split

# What follows the module's name in models/SE-BN-Inception.prototxt, and the branches of pytorchcv's modules.
CAFFE_STEMS = {"stem1": "conv1/7x7_s2", "stem2": "conv2/3x3_reduce", "stem3": "conv2/3x3"}
CAFFE_PLACES = {
    "1x1": "1x1",
    "3x3_reduce": "3x3_reduce",
    "3x3": "3x3",
    "double_reduce": "double3x3_reduce",
    "double1": "double3x3a",
    "double2": "double3x3b",
    "project": "pool_proj",
}
PYTORCHCV_STEMS = {"stem1": "conv1", "stem2": "conv2.conv1", "stem3": "conv2.conv2"}
PYTORCHCV_PLACES = {
    "1x1": "branch1",
    "3x3_reduce": "branch2.conv1",
    "3x3": "branch2.conv2",
    "double_reduce": "branch3.conv1",
    "double1": "branch3.conv2",
    "double2": "branch3.conv3",
    "project": "branch4.conv",
}
PYTORCHCV_UNITS = {
    "3a": "stage1.unit1",
    "3b": "stage1.unit2",
    "3c": "stage2.unit1",
    "4a": "stage2.unit2",
    "4b": "stage2.unit3",
    "4c": "stage2.unit4",
    "4d": "stage2.unit5",
    "4e": "stage3.unit1",
    "5a": "stage3.unit2",
    "5b": "stage3.unit3",
}
HALVING = ("3c", "4e")  # modules without the 1×1 branch


def caffe_bn_inception(layer: str) -> list[str]:
    """The authors' SE-BN-Inception."""
    if layer == "classifier":
        return blobs("classifier")
    module, place, kind = split_module(layer)
    if kind == "se":
        return blobs(f"inception_{module}_1x1_down") + blobs(f"inception_{module}_1x1_up")
    found = f"inception_{module}/{CAFFE_PLACES[place]}" if module else CAFFE_STEMS[place]
    return [f"{found}[0]"] if kind == "conv" else caffe_batch_norm(found)


def pytorchcv_bn_inception(layer: str) -> list[str]:
    """BNInception, whose convolutions have biases."""
    if layer == "classifier":
        return dense("output")
    module, place, kind = split_module(layer)
    if not module:
        found = f"features.init_block.{PYTORCHCV_STEMS[place]}"
    else:
        branch = PYTORCHCV_PLACES[place]
        if module in HALVING:
            branch = {"branch2": "branch1", "branch3": "branch2"}[branch[:7]] + branch[7:]
        found = f"features.{PYTORCHCV_UNITS[module]}.branches.{branch}"
    return dense(f"{found}.conv") if kind == "conv" else batch_norm(f"{found}.bn")


def split_module(layer: str) -> tuple[str, str, str]:
    """("3a", "double1", "conv") for "stage3a_double1_conv"; in the stem ("", "stem1", "conv")."""
    found = re.fullmatch(r"(?:stage(\d[a-e])_)?(?:(\w+)_)?(conv|bn|se)", layer)
    if found is None:
        raise ValueError(f"No rule names the tensors of layer {layer!r}.")
    return found[1] or "", found[2] or "", found[3]


def pytorchcv_inception_resnet_v2(layer: str) -> list[str]:
    """InceptionResNetV2, which counts the module that opens stage 1 to the stem."""
    stage, block, branch, place, kind = split(layer)
    if kind == "dense":
        return dense("output.fc")
    if stage == 1:
        unit = f"features.stage1.unit{block - 1}" if block > 1 else "features.init_block.block"
    else:
        unit = f"features.stage{stage}.unit{block}"
    if place == "expand":
        return dense(f"{unit}.conv")
    if place == "head":
        module = "features.final_conv"
    elif place == "project":
        module = f"{unit}.branches.branch4.conv"
    elif not stage:
        module = f"features.init_block.conv{place[-1]}"
    elif branch == 1 and (stage == 1 or block > 1):  # one 1×1 convolution
        module = f"{unit}.branches.branch1.conv"
    else:
        module = f"{unit}.branches.branch{branch}.conv_list.conv{place[-1]}"
    return conv(f"{module}.conv") if kind == "conv" else batch_norm(f"{module}.bn")


PINS: dict[str, tuple[str, dict[str, Any]]] = {
    "caffe/SE-BN-Inception": ("se_bn_inception", {}),
    "pytorchcv/bninception": ("bn_inception", {"conv_bias": True}),
    "pytorchcv/inceptionresnetv2": ("inception_resnet_v2", {"dropout": 0.0}),
}
NAMES: dict[str, Callable[[str], list[str]]] = {
    "caffe/SE-BN-Inception": caffe_bn_inception,
    "pytorchcv/bninception": pytorchcv_bn_inception,
    "pytorchcv/inceptionresnetv2": pytorchcv_inception_resnet_v2,
}

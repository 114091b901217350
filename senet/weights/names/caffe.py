"""How the authors' prototxt files name the blobs of their residual networks: "layer[0]", "layer[1]"."""

from __future__ import annotations

from senet.weights.names.parts import split

PLACES = {"reduce": "1x1_reduce", "spatial": "3x3", "expand": "1x1_increase", "shortcut": "1x1_proj"}
STEMS = {"stem": "conv1/7x7_s2", "stem1": "conv1_1/3x3_s2", "stem2": "conv1_2/3x3", "stem3": "conv1_3/3x3"}


def resnet(layer: str) -> list[str]:
    """SE-ResNet, SE-ResNeXt and SENet-154 (models/*.prototxt in github.com/hujie-frank/SENet)."""
    stage, block, _, place, kind = split(layer)
    if place == "classifier":
        return blobs("classifier")
    if stage == 0:
        module = STEMS[place]
    elif kind == "se":
        return blobs(f"conv{stage + 1}_{block}_1x1_down") + blobs(f"conv{stage + 1}_{block}_1x1_up")
    else:  # the prototxt counts the stem as stage 1
        module = f"conv{stage + 1}_{block}_{PLACES[place]}"
    return [f"{module}[0]"] if kind == "conv" else batch_norm(module)


def blobs(layer: str) -> list[str]:
    """Kernel and bias."""
    return [f"{layer}[0]", f"{layer}[1]"]


def batch_norm(module: str) -> list[str]:
    """Gamma and beta of the Scale layer, mean and variance of the BatchNorm layer before it."""
    return blobs(f"{module}/bn/scale") + blobs(f"{module}/bn")

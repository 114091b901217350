"""Every network once, at one block a stage: deeper is more of the same."""

from __future__ import annotations

import dataclasses

import senet
from senet.models.spec import ResidualSpec
from senet.models.tables import MODELS


def shallow(name: str) -> dict[str, object]:
    """The changes that leave one block of each kind in a stage (two where the first differs)."""
    spec = MODELS[name]
    if not isinstance(spec, ResidualSpec):
        return {}
    changes: dict[str, object] = {
        "blocks": tuple(min(2, blocks) if i == 1 else 1 for i, blocks in enumerate(spec.blocks))
    }
    if spec.se is not None and spec.widths[0] == 16:
        # One hidden unit can be dead from the start, and its gradients zero with no mistake anywhere.
        changes["se"] = dataclasses.replace(spec.se, ratio=2)
    return changes


def representatives() -> list[str]:
    """A name for each distinct network of the tables once it is shallow."""
    found: dict[object, str] = {}
    for name in MODELS:
        found.setdefault(MODELS[name].change(**shallow(name)), name)
    return list(found.values())


NAMES = representatives()
HEAVY = (
    "senet_16",
    "senet_28",
    "se_resnext_101_64x4d",
    "se_resnext_101_32x8d",
    "se_wide_resnet_16_10_cifar",
    "se_shake_shake_26_2x96d_cifar",
    "vgg_16",
    "se_vgg_16",
    "inception_resnet_v2",
    "se_inception_resnet_v2",
    "se_shake_even_29_2x4x64d_cifar",
)


def build(name: str, **arguments):
    """The shallow network, with seven classes."""
    return senet.create_model(name, **{"classes": 7, **shallow(name), **arguments})


def side(name: str) -> tuple[int, int]:
    """An odd, non-square image that leaves a few pixels of the last feature map."""
    stride = MODELS[name].stride
    if "inception_resnet_v2" in name:  # unpadded convolutions need room
        return 107, 139
    return 2 * stride + 1, 3 * stride + 1

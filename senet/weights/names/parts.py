"""What a layer's name says, and the tensor names that PyTorch layers have."""

from __future__ import annotations

import re
from typing import NamedTuple

PARTS = re.compile(
    r"(?:stage(?P<stage>\d+)_block(?P<block>\d+)_)?(?:branch(?P<branch>\d)_)?(?P<place>\w+)_(?P<kind>conv|bn)"
)


class Parts(NamedTuple):
    """The parts of "stage2_block3_spatial_conv": stage 2, block 3, place "spatial", kind "conv"."""

    stage: int  # 0 outside the stages
    block: int
    branch: int  # of a Shake-Shake block, else 0
    place: str
    kind: str  # "conv", "bn", "se" or "dense"


def split(layer: str) -> Parts:
    """The parts of a residual network's layer name."""
    if layer == "classifier":
        return Parts(0, 0, 0, "classifier", "dense")
    se = re.fullmatch(r"stage(\d+)_block(\d+)_se", layer)
    if se:
        return Parts(int(se[1]), int(se[2]), 0, "se", "se")
    found = PARTS.fullmatch(layer)
    if found is None:
        raise ValueError(f"No rule names the tensors of layer {layer!r}.")
    stage, block, branch = (int(found[part] or 0) for part in ("stage", "block", "branch"))
    return Parts(stage, block, branch, found["place"], found["kind"])


def conv(module: str) -> list[str]:
    """A convolution without bias."""
    return [f"{module}.weight"]


def dense(module: str) -> list[str]:
    """A dense layer, or a convolution with bias."""
    return [f"{module}.weight", f"{module}.bias"]


def batch_norm(module: str) -> list[str]:
    """BatchNorm in Keras' order: gamma, beta, moving mean, moving variance."""
    return [f"{module}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]

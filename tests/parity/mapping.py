"""Which tensors of a peer's checkpoint fill which layer of a senet network.

The peers are PyTorch libraries: convolutions are (out, in, height, width), dense layers (out, in).
"""

import re

import numpy as np

BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
BLOCK = re.compile(r"stage(\d+)_block(\d+)_(.+)")


def with_suffixes(prefix: str, *suffixes: str) -> list[str]:
    return [f"{prefix}.{suffix}" for suffix in suffixes]


def pytorchcv(layer: str) -> list[str]:
    """pytorchcv's CIFAR ResNets."""
    if layer == "classifier":
        return with_suffixes("output", "weight", "bias")
    if layer.startswith("stem"):
        unit, part = "features.init_block", layer.removeprefix("stem_")
        return [f"{unit}.conv.weight"] if part == "conv" else with_suffixes(f"{unit}.bn", *BATCH_NORM)
    stage, block, part = BLOCK.fullmatch(layer).groups()
    unit = f"features.stage{stage}.unit{block}"
    if part == "se":
        return with_suffixes(f"{unit}.se", "conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias")
    place, kind = part.split("_")
    place = {
        "spatial1": "body.conv1",
        "spatial2": "body.conv2",
        "reduce": "body.conv1",
        "spatial": "body.conv2",
        "expand": "body.conv3",
        "shortcut": "identity_conv",
    }[place]
    return (
        [f"{unit}.{place}.conv.weight"]
        if kind == "conv"
        else with_suffixes(f"{unit}.{place}.bn", *BATCH_NORM)
    )


def timm(layer: str) -> list[str]:
    """timm's bottleneck ResNets."""
    if layer == "classifier":
        return with_suffixes("fc", "weight", "bias")
    if layer.startswith("stem"):
        return ["conv1.weight"] if layer == "stem_conv" else with_suffixes("bn1", *BATCH_NORM)
    stage, block, part = BLOCK.fullmatch(layer).groups()
    unit = f"layer{stage}.{int(block) - 1}"
    if part == "se":
        return with_suffixes(f"{unit}.se_module", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    place, kind = part.split("_")
    if place == "shortcut":
        shortcut = f"{unit}.downsample"
        return [f"{shortcut}.0.weight"] if kind == "conv" else with_suffixes(f"{shortcut}.1", *BATCH_NORM)
    number = {"reduce": 1, "spatial": 2, "expand": 3}[place]
    return (
        [f"{unit}.conv{number}.weight"]
        if kind == "conv"
        else with_suffixes(f"{unit}.bn{number}", *BATCH_NORM)
    )


def timm_legacy(layer: str) -> list[str]:
    """timm's ports of the authors' networks: another stem and classifier."""
    if layer == "classifier":
        return with_suffixes("last_linear", "weight", "bias")
    return [f"layer0.{name}" if layer.startswith("stem") else name for name in timm(layer)]


def to_keras(tensor: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A PyTorch tensor in the layout of the Keras variable whose `shape` is given."""
    if len(shape) == 2:  # a dense kernel; the peers write those of SE as 1×1 convolutions
        return tensor.reshape(tensor.shape[:2]).T
    return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor


def fill(model, tensors: dict[str, np.ndarray], names) -> None:
    """Give every variable its tensor; every tensor must be used, exactly once."""
    left = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    for layer in model.layers:
        if layer.weights:
            for variable, name in zip(layer.weights, names(layer.name), strict=True):
                tensor = to_keras(left.pop(name), tuple(variable.shape))
                assert tensor.shape == tuple(variable.shape), (variable.path, name)
                variable.assign(tensor)
    assert not left, f"Unread: {sorted(left)}"

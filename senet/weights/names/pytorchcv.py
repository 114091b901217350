"""How pytorchcv names the tensors of its residual networks."""

from __future__ import annotations

from senet.weights.names.parts import batch_norm, conv, dense, split

BODY = {
    "spatial1": "conv1",
    "spatial2": "conv2",
    "reduce": "conv1",
    "spatial": "conv2",
    "expand": "conv3",
    "preact": "conv1",
}


def cifar(layer: str, *, stem: str = "features.init_block", classifier: str = "output") -> list[str]:
    """The CIFAR ResNets and Shake-Shake networks; with another `stem` and `classifier` most of the rest."""
    stage, block, branch, place, kind = split(layer)
    if place == "classifier":
        return dense(classifier)
    if stage == 0:
        return conv(f"{stem}.conv") if kind == "conv" else batch_norm(f"{stem}.bn")
    unit = f"features.stage{stage}.unit{block}"
    if kind == "se":
        return dense(f"{unit}.se.conv1") + dense(f"{unit}.se.conv2")
    if place in ("shortcut1", "shortcut2"):
        return conv(f"{unit}.identity_branch.conv{place[-1]}")
    module = f"{unit}.{f'branch{branch}' if branch else 'body'}.{BODY.get(place)}"
    if place == "shortcut":
        module = f"{unit}.identity_conv"
    return conv(f"{module}.conv") if kind == "conv" else batch_norm(f"{module}.bn")


def shake_shake(layer: str) -> list[str]:
    """CIFARShakeShakeResNet."""
    if layer.endswith("_shortcut_bn"):
        stage, block, *_ = split(layer)
        return batch_norm(f"features.stage{stage}.unit{block}.identity_branch.bn")
    return cifar(layer)


def resnet(layer: str) -> list[str]:
    """The ImageNet ResNets and ResNeXts."""
    return cifar(layer, stem="features.init_block.conv")


def senet(layer: str) -> list[str]:
    """The SENets: a stem of three convolutions."""
    return cifar(
        layer, stem=f"features.init_block.conv{layer.removeprefix('stem')[:1]}", classifier="output.fc"
    )


def preresnet(layer: str) -> list[str]:
    """The networks with pre-activation: bare shortcuts, and one BatchNorm after the last stage."""
    if layer == "last_bn":
        return batch_norm("features.post_activ.bn")
    if layer.endswith("_shortcut_conv"):
        stage, block, *_ = split(layer)
        return conv(f"features.stage{stage}.unit{block}.identity_conv")
    return cifar(layer)


def preresnet_bare(layer: str) -> list[str]:
    """The same with a stem that is a convolution alone: the plain CIFAR networks and Wide ResNets."""
    return conv("features.init_block") if layer == "stem_conv" else preresnet(layer)

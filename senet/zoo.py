"""Every network by name: `list_models`, `create_model`, and the way from and to published checkpoints."""

from __future__ import annotations

import fnmatch
import inspect
from pathlib import Path
from typing import Any

import keras

from senet.models.network import build_network
from senet.models.spec import Spec
from senet.models.tables import MODELS as MODELS
from senet.models.tables import get_spec as get_spec
from senet.models.tables import plain_twin as plain_twin
from senet.models.weights_file import HEAD, fill, load_by_name
from senet.weights import catalogue
from senet.weights.architectures import ARCHITECTURES, Architecture, find_architecture
from senet.weights.catalogue import WeightsEntry
from senet.weights.convert import Report, read_checkpoint, write_checkpoint

BUILD_ARGUMENTS = tuple(inspect.signature(build_network).parameters)[1:]
KERAS_FILES = (".weights.h5", ".keras")
DEFAULT = "imagenet"


def list_models(pattern: str = "*", weights: bool = False) -> list[str]:
    """Names of the networks that match a shell pattern such as "se_*", in table order.

    With `weights=True` only those that a published weight set can fill.
    """
    names = [name for name in MODELS if fnmatch.fnmatchcase(name, pattern)]
    if not weights:
        return names
    filled = {ARCHITECTURES[key(entry)].model for entry in catalogue.matching() if entry.published}
    return [name for name in names if name in filled]


def key(entry: WeightsEntry) -> str:
    """The name of an entry's architecture: "timm/seresnet50"."""
    return f"{entry.source}/{entry.architecture}"


def create_model(
    model: str,
    /,
    weights: str | Path | None = None,
    include_top: bool = True,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int | None = None,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
    *,
    features_only: bool = False,
    **changes: Any,
) -> keras.Model:
    """Build a network by name. The arguments are those of keras.applications, with their meaning.

    Args:
        model: a name from `list_models()`.
        weights: None (He initialisation), the tag of a published weight set ("timm/seresnet50.ra2_in1k";
            `senet list --weights` has them all), "imagenet" (the network's default tag), or the path of a
            Keras weights file. A tag pins the fields in which its source's variant differs from the row;
            with other `classes` the classifier is new, other channels get a fitting first kernel (logged).
        include_top: end in the classifier; otherwise in the last feature map, or what `pooling` makes of it.
        input_tensor: a Keras tensor (N, H, W, C) to build upon.
        input_shape: (H, W, C), channels last; H and W may be None. Default (None, None, 3).
        pooling: without the top: None (feature map, 4-D), "avg" or "max" (2-D).
        classes: number of classes; default the weight set's, else 1000, or 10 for the CIFAR networks.
        classifier_activation: "softmax", or None for logits.
        name: of the Keras model; default the network's.
        features_only: end in a dict of the stages' feature maps, "stride_4" … "stride_32".
        **changes: fields of the spec to change: `se=None`, `se=SESpec(ratio=8)`, `dropout=0.2`,
            `drop_path=0.1`, `stride_on="3x3"`, … (see `senet.models.spec`).

    Returns a functional keras.Model: (N, H, W, C) float to (N, classes), by default probabilities; from a tag
    with the attribute `preprocess`. Raises ValueError for what does not fit, OSError without the weights.

    Source: Hu et al., arXiv:1709.01507, Table 1.
    """
    spec, entry = get_spec(model), None
    if weights is not None and not is_file(weights):
        entry = find_weights(model, str(weights))
        spec = pinned_spec(model, entry)
        classes = entry.classes if classes is None else classes
    network = build_network(
        spec.change(**changes),
        name=name or model,
        include_top=include_top,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        features_only=features_only,
    )
    if entry is not None:
        load_published(network, entry)
    elif weights is not None:
        load_file(network, weights)
    return network


def is_file(weights: str | Path) -> bool:
    """Whether `weights` is meant as a path; tags have none of these suffixes."""
    return isinstance(weights, Path) or str(weights).endswith(KERAS_FILES)


def load_file(network: keras.Model, weights: str | Path) -> None:
    """Fill every variable from a Keras weights file; never leave one random in silence."""
    path = Path(weights)
    if not path.name.endswith(KERAS_FILES):
        raise ValueError(
            "`weights` must be None, a tag, or the path of a Keras weights file (*.weights.h5, *.keras). "
            f"Received: weights={str(weights)!r}. Other checkpoints: senet.from_checkpoint(path, 'timm/…')."
        )
    if not path.is_file():
        raise FileNotFoundError(f"`weights` names a file that does not exist: {path}")
    load_by_name(network, path)


def find_weights(model: str, weights: str) -> WeightsEntry:
    """The catalogue entry that `weights` names for `model`; ValueError with the tags that there are."""
    if weights == DEFAULT:
        return catalogue.find(catalogue.default_tag(model))
    try:
        return catalogue.find(weights)
    except ValueError as error:
        fitting = [entry.tag for entry in catalogue.matching() if ARCHITECTURES[key(entry)].model == model]
        tags = f" Of {model!r} there are: {', '.join(fitting)}." if fitting else ""
        raise ValueError(f"{error}{tags}") from None


def pinned_spec(model: str, entry: WeightsEntry) -> Spec:
    """The spec of a weight set's network; ValueError unless it is `model` or another variant of it."""
    architecture = ARCHITECTURES[key(entry)]
    if architecture.model != model and plan(get_spec(model)) != plan(architecture.spec):
        raise ValueError(
            f"{entry.tag!r} holds weights of {architecture.model!r}. Received: {model!r}, another network. "
            f"Use senet.create_model({architecture.model!r}, weights={entry.tag!r})."
        )
    return architecture.spec


def plan(spec: Spec) -> tuple[Any, ...]:
    """What two variants of one network share: its depth and widths, and whether it has SE blocks."""
    fields = ("block", "blocks", "widths", "groups", "expansion", "preactivation")
    return (type(spec), spec.se is None, *(getattr(spec, field, None) for field in fields))


def load_published(network: keras.Model, entry: WeightsEntry) -> None:
    """Fill a network from a published weight set: from the cache, or downloaded, verified and converted."""
    from senet.weights import store  # what it needs to download, building a network does not

    def write(original: Path, target: Path) -> None:
        source, _ = convert(original, ARCHITECTURES[key(entry)])
        source.save_weights(target)

    load_by_name(network, store.converted(entry, write), adapt=True)
    network.preprocess = entry.preprocess


def convert(
    path: str | Path, architecture: str | Architecture, **arguments: Any
) -> tuple[keras.Model, Report]:
    """`from_checkpoint`, and the report of what was done."""
    if isinstance(architecture, str):
        architecture = find_architecture(architecture)
    network, values, report = read_checkpoint(path, architecture)
    of_build = {name: value for name, value in arguments.items() if name in BUILD_ARGUMENTS}
    changes = {name: value for name, value in arguments.items() if name not in BUILD_ARGUMENTS}
    defaults = {"name": architecture.model, "classes": len(values[HEAD][-1])}
    if arguments:  # else the source's own network is what is wanted
        network = build_network(architecture.spec.change(**changes), **{**defaults, **of_build})
    fill(network, values, origin=str(path), adapt=True)
    preprocess = {entry.preprocess for entry in catalogue.matching() if key(entry) == architecture.name}
    if len(preprocess) == 1:  # else the file alone does not say which weight set it is
        network.preprocess = preprocess.pop()
    return network, report


def from_checkpoint(path: str | Path, architecture: str, **arguments: Any) -> keras.Model:
    """The network of a published checkpoint, filled from it.

    Args:
        path: .caffemodel, .safetensors, or .pth (which needs PyTorch).
        architecture: the source's own name: "caffe/SE-ResNet-50", "timm/legacy_seresnet50",
            "pytorchcv/seresnet20_cifar10".
        **arguments: those of `create_model`; by default logits (`classifier_activation=None`), with the
            classes and input channels that the file has.

    The network takes RGB and answers in the order of the sorted synsets, whatever its source: the channels
    and classes of Caffe files are put in that order. Raises ValueError, with the names, unless every tensor
    of the file is used exactly once and every variable is filled; PyTorch's counters of BatchNorm steps have
    no counterpart in Keras and are left out. Where all weight sets of the architecture have the same
    preprocessing, the network gets it as the attribute `preprocess`.
    """
    return convert(path, architecture, **arguments)[0]


def to_checkpoint(network: keras.Model, path: str | Path, architecture: str) -> Report:
    """Write a network as timm or pytorchcv have it: a .safetensors or .pth file that they load strictly.

    `architecture` is the source's own name, "timm/legacy_seresnet50"; `network` must have its layers, with
    any number of classes. The inverse of `from_checkpoint`, bit for bit, but that BatchNorm's counters of
    steps are 0. Returns the report.
    """
    return write_checkpoint(network, path, find_architecture(architecture))

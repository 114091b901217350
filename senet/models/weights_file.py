"""Fill a network from a Keras weights file, layer by layer and by name.

Keras' own loader goes by the order of the layers in the graph. SE and stochastic depth move a projection in
that order, and the first one has the shape of the convolution beside it: the two would change places unseen.
"""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

HEAD = "classifier"
Values = Mapping[str, Sequence[np.ndarray]]  # layer name → its variables' values, in Keras' order

log = logging.getLogger("senet")


def load_by_name(network: keras.Model, path: Path, *, adapt: bool = False) -> None:
    """Give every variable its value from a file; see `fill`."""
    fill(network, read_layers(path), origin=str(path), adapt=adapt)


def fill(network: keras.Model, stored: Values, *, origin: str, adapt: bool = False) -> None:
    """Give every variable its value; ValueError unless `stored` and network have the same layers and shapes.

    A classifier that the network does not have is left unread. With `adapt`, a classifier for other classes
    stays new, and the first convolution takes other input channels (`adapt_channels`); both are logged.
    """
    wanted = variables_by_layer(network)
    stored = adapted(wanted, stored, network) if adapt else dict(stored)
    differences = {
        "missing": wanted.keys() - stored.keys(),
        "left over": stored.keys() - wanted.keys() - {HEAD},
        "of another shape": {
            name for name in wanted.keys() & stored.keys() if shapes(wanted[name]) != shapes(stored[name])
        },
    }
    if any(differences.values()):
        found = "; ".join(f"{kind}: {', '.join(sorted(n)[:4])}" for kind, n in differences.items() if n)
        raise ValueError(f"`weights` is of another network than {network.name!r}: {origin}. Layers {found}.")
    for name, variables in wanted.items():
        for variable, value in zip(variables, stored[name], strict=True):
            variable.assign(value)


def variables_by_layer(network: keras.Model) -> dict[str, list[Any]]:
    """The network's variables by layer name; a sub-layer's belong to the layer that the network holds."""
    wanted: dict[str, list[Any]] = {}
    for variable in network.weights:
        wanted.setdefault(variable.path.split("/")[-2], []).append(variable)
    return wanted


def adapted(wanted: Mapping[str, list[Any]], stored: Values, network: keras.Model) -> dict[str, Any]:
    """`stored`, with a head and a first kernel that fit `network`."""
    values = dict(stored)
    if HEAD in wanted and HEAD in values and shapes(wanted[HEAD]) != shapes(values[HEAD]):
        asked, has = wanted[HEAD][-1].shape[0], values[HEAD][-1].shape[0]
        log.warning("%s: the classifier is new (%d classes; the weights have %d).", network.name, asked, has)
        values[HEAD] = [keras.ops.convert_to_numpy(variable) for variable in wanted[HEAD]]
    first = first_convolution(network)
    if first in wanted and first in values:
        kernel, *rest = values[first]
        channels = wanted[first][0].shape[2]
        if kernel.ndim == 4 and channels != kernel.shape[2]:
            log.warning("%s: the first kernel now takes %d channels.", network.name, channels)
            values[first] = [adapt_channels(kernel, channels), *rest]
    return values


def first_convolution(network: keras.Model) -> str:
    """The name of the layer that holds the first kernel."""
    return next(layer.name for layer in network.layers if isinstance(layer, keras.layers.Conv2D))


def adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A first kernel (h, w, 3, out) for other input channels, by the rule of timm.

    One channel: the sum over the three, so that a grey image answers as its RGB copy does. n channels: the
    three repeated to n, times 3/n, so that the sum stays what it was.
    """
    has = kernel.shape[2]
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    repeats = -(-channels // has)
    return np.tile(kernel, (1, 1, repeats, 1))[:, :, :channels] * np.float32(has / channels)


def shapes(tensors: Sequence[Any]) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors]


def read_layers(path: Path) -> dict[str, list[np.ndarray]]:
    """The values of a *.weights.h5 or *.keras file by layer name, trainable ones first as Keras has them."""
    layers: dict[str, list[np.ndarray]] = {}

    def visit(place: str, entry: h5py.Group | h5py.Dataset) -> None:
        # An optimizer's slots and the states of random generators are stored too.
        of_a_layer = place.startswith("layers/") and "seed_generator" not in place
        if isinstance(entry, h5py.Dataset) and of_a_layer:
            layers.setdefault(str(entry.parent.attrs["name"]), []).append(to_array(entry))

    try:
        source: Any = path
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                source = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(source) as file:
            file.visititems(visit)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"`weights` is not a weights file of Keras 3: {path}") from error
    return layers


def to_array(entry: h5py.Dataset) -> np.ndarray:
    value = np.asarray(entry)
    if entry.attrs.get("dtype") != "bfloat16":
        return value
    # NumPy has no bfloat16: it is the upper half of a float32.
    return (value.view(np.uint16).astype(np.uint32) << 16).view(np.float32)

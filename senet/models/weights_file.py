"""Fill a network from a Keras weights file, layer by layer and by name.

Keras' own loader goes by the order of the layers in the graph. SE and stochastic depth move a projection in
that order, and the first one has the shape of the convolution beside it: the two would change places unseen.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np


def load_by_name(network: keras.Model, path: Path) -> None:
    """Give every variable its value; ValueError unless file and network have the same layers and shapes.

    A classifier that the network does not have is left unread.
    """
    wanted: dict[str, list[Any]] = {}
    for variable in network.weights:
        wanted.setdefault(variable.path.split("/")[-2], []).append(variable)
    stored = read_layers(path)
    differences = {
        "missing": wanted.keys() - stored.keys(),
        "left over": stored.keys() - wanted.keys() - {"classifier"},
        "of another shape": {
            name for name in wanted.keys() & stored.keys() if shapes(wanted[name]) != shapes(stored[name])
        },
    }
    if any(differences.values()):
        found = "; ".join(f"{kind}: {', '.join(sorted(n)[:4])}" for kind, n in differences.items() if n)
        raise ValueError(f"`weights` is of another network than {network.name!r}: {path}. Layers {found}.")
    for name, variables in wanted.items():
        for variable, value in zip(variables, stored[name], strict=True):
            variable.assign(value)


def shapes(tensors: list[Any]) -> list[tuple[int, ...]]:
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

"""The role of excitation, on a network and images of one's own.

Hu et al., arXiv:1709.01507, section 7.2, Figures 6 and 7.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from senet.data.dataset import Dataset
from senet.data.memory import MemoryDataset
from senet.data.splits import Read
from senet.data.stream import StreamDataset
from senet.errors import did_you_mean
from senet.evaluate import Subject
from senet.explain.excitation_report import Excitation, write_excitation
from senet.explain.gates import read_gates, se_layers
from senet.explain.names import readable
from senet.explain.removal import remove_stages, se_costs

PAPER_CLASSES = ("goldfish", "pug", "airliner", "cliff")
MOST_CLASSES = 6  # as there are colours beside black


def explain_excitation(
    subject: Subject,
    out: Path,
    *,
    classes: Sequence[str] = (),
    per_class: int | None = None,
    removal: bool = True,
    batch: int = 64,
) -> Excitation:
    """Watch the gates of a network on its test images and write what they do into the folder `out`.

    `classes` are drawn apart, by name: at most six; default those of the paper where the images have them,
    else four. `per_class` is the most images of a class to use (the paper: 50). With `removal` every stage's
    gates are held constant in turn, which takes 2 × stages + 3 times as long. ValueError for a network
    without SE, an unknown class, and images of fewer than two classes.
    """
    se_layers(subject.network)  # first: a network without SE says so before an image is read
    data = subject.data if per_class is None else thinned(subject.data, per_class)
    names = class_names(subject)
    wanted = find_classes(classes, data, names)
    gates = read_gates(subject.network, data.test(batch), subject.classes)
    found = Excitation(
        model=subject.model,
        weights=subject.weights,
        data=data.name,
        names=names,
        chosen=choose_classes(wanted, gates.blocks[0].images, names),
        gates=gates,
        costs=se_costs(subject.network, data.image_shape),
        removals=remove_stages(subject.network, data.test(batch), subject.classes, gates) if removal else [],
    )
    return dataclasses.replace(found, files=write_excitation(found, out))


def class_names(subject: Subject) -> list[str]:
    """The names of the data's classes, (K,) of `subject.classes`, for people."""
    return readable([subject.class_names[index] for index in subject.classes])


def find_classes(wanted: Sequence[str], data: Dataset, names: Sequence[str]) -> list[int]:
    """Indices of classes by their names, in the network's words or the data's; ValueError for none such."""
    if len(wanted) > MOST_CLASSES:
        raise ValueError(
            f"At most {MOST_CLASSES} classes can be told apart in a picture. Received: {len(wanted)}."
        )
    known: dict[str, int] = {}
    for index, pair in enumerate(zip(data.class_names, names, strict=True)):
        for name in pair:
            known.setdefault(plain(name), index)
    for name in wanted:
        if plain(name) not in known:
            raise ValueError(
                f"Every class must be one of {data.name}. Received: {name!r}.{did_you_mean(name, known)}"
            )
    return list(dict.fromkeys(known[plain(name)] for name in wanted))


def plain(name: str) -> str:
    return name.lower().replace("_", " ")


def choose_classes(wanted: Sequence[int], images: np.ndarray, names: Sequence[str]) -> tuple[int, ...]:
    """The classes to draw: `wanted`, or those of the paper, or four evenly taken of those with `images` (K,).

    ValueError for a wanted class without images, and where fewer than two classes have any.
    """
    present = np.flatnonzero(images)
    if len(present) < 2:
        raise ValueError(
            f"Images of at least two classes are needed to tell classes apart. Received: {len(present)}."
        )
    for index in wanted:
        if not images[index]:
            raise ValueError(f"Every class to draw must have test images. Received: {names[index]!r}.")
    if wanted:
        return tuple(wanted)
    of_paper = [index for name in PAPER_CLASSES for index in present.tolist() if plain(names[index]) == name]
    if len(of_paper) == len(PAPER_CLASSES):
        return tuple(of_paper)
    places = np.linspace(0, len(present) - 1, len(PAPER_CLASSES)).round().astype(int)
    return tuple(dict.fromkeys(present[places].tolist()))


def thinned(data: Dataset, per_class: int) -> Dataset:
    """`data` with at most `per_class` test images of each class, the first ones; ValueError below 1."""
    if per_class < 1:
        raise ValueError(f"`per_class` must be at least 1. Received: per_class={per_class}.")
    if isinstance(data, StreamDataset):
        few = data.test_part.take(first_of_each(data.test_part.labels, per_class))
        return dataclasses.replace(data, test_part=few)
    if isinstance(data, MemoryDataset):
        split = data.test_split
        read = Read(split.take(first_of_each(split.labels, per_class)))
        return dataclasses.replace(data, read_test=lambda: read)
    raise ValueError(f"`per_class` is for images in memory or on disk. Received: {type(data).__name__}.")


def first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices, in order, of the first `count` of each label."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    return np.sort(order[np.arange(len(order)) - starts < count])

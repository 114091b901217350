"""What the SE blocks of a network do on given images: the gates' means, spread, saturation, and classes.

Hu et al., arXiv:1709.01507, section 7.2, in numbers.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from senet.data.dataset import EvaluationBatches
from senet.explain.copies import copied, kept_rows
from senet.layers.squeeze_excite import SqueezeExcite

CLOSED, OPEN = 0.1, 0.9  # gates below and above these are called saturated
NAME = re.compile(r"(?P<stage>stage\d+)_?(?P<block>\w*?)_se")
STILL = 1e-12  # variance below which a gate is a constant, its last digits aside


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class BlockGates:
    """Statistics of one SE block's gates over images of K classes, C channels.

    A gate that has a value for each position (`squeeze="none"`) is averaged over the positions first.
    """

    name: str  # "stage1_block2"
    stage: str  # "stage1"
    images: np.ndarray  # (K,) of each class
    class_mean: np.ndarray  # (K, C); nan for a class without images
    class_std: np.ndarray  # (K, C) over the images of a class, population deviation
    mean: np.ndarray  # (C,) over all images
    std: np.ndarray  # (C,)
    closed: float  # share of all gates below CLOSED
    open: float  # share of all gates above OPEN

    @property
    def constant(self) -> int:
        """Channels whose gate is the same for every image."""
        return int(np.sum(self.std**2 <= STILL))

    @property
    def between(self) -> float:
        """Share of a gate's variance that lies between classes (eta squared), mean over channels; in [0, 1].

        Channels with a constant gate have no variance to share and are left out; nan where all have.
        """
        moving = self.std**2 > STILL
        if not moving.any():
            return float("nan")
        present = self.images > 0
        weights = self.images[present, None] / self.images.sum()
        of_classes = weights * (self.class_mean[present] - self.mean) ** 2
        return float(np.mean(of_classes.sum(axis=0)[moving] / self.std[moving] ** 2))

    @property
    def chance(self) -> float:
        """What `between` would be if the labels were shuffled: (K - 1) / (N - 1).

        Exact, not an estimate: it is the mean over all permutations of the labels, whatever the gates are.
        """
        classes, images = int(np.sum(self.images > 0)), int(self.images.sum())
        return (classes - 1) / (images - 1) if images > 1 else float("nan")

    @property
    def specificity(self) -> float:
        """How class-specific the gates are: `between` without chance, 0 for chance, 1 for classes only.

        (between - chance) / (1 - chance), Kelley's epsilon squared; nan with one image a class.
        """
        return (self.between - self.chance) / (1 - self.chance) if self.chance < 1 else float("nan")

    @property
    def spread_between(self) -> float:
        """Deviation of the class means from the mean over all images, weighted by images; mean over channels.

        In units of a gate: what is class-specific may still be small.
        """
        present = self.images > 0
        weights = self.images[present, None] / self.images.sum()
        return float(np.mean(np.sqrt((weights * (self.class_mean[present] - self.mean) ** 2).sum(axis=0))))

    @property
    def spread_within(self) -> float:
        """Deviation of a gate over the images of one class, pooled over the classes; mean over channels."""
        present = self.images > 0
        weights = self.images[present, None] / self.images.sum()
        return float(np.mean(np.sqrt((weights * self.class_std[present] ** 2).sum(axis=0))))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Gates:
    """The gates of every SE block, from the first to the last, and how many answers were right."""

    blocks: Sequence[BlockGates]
    images: int
    right: int

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages that have SE blocks, in order."""
        return tuple(dict.fromkeys(block.stage for block in self.blocks))

    @property
    def last_of_stages(self) -> list[BlockGates]:
        """The last SE block of each stage."""
        return list({block.stage: block for block in self.blocks}.values())

    @property
    def shown(self) -> list[BlockGates]:
        """The blocks of the paper's Figure 6: the last of each stage, and all of the last stage."""
        last = self.blocks[-1].stage
        chosen = {id(block) for block in self.last_of_stages}
        return [block for block in self.blocks if id(block) in chosen or block.stage == last]


def se_layers(model: keras.Model) -> list[SqueezeExcite]:
    """The SE layers of a network, in the order they run; ValueError where there are none."""
    found = [layer for layer in model.layers if isinstance(layer, SqueezeExcite)]
    if not found:
        raise ValueError(
            f"The network must have SE blocks. Received: {model.name}, which has none. Networks with SE have "
            "se_ in their names (`senet list 'se_*'`); where SE was folded or fused for inference, give the "
            "network before that."
        )
    return found


def place(layer: SqueezeExcite) -> tuple[str, str]:
    """(name of the block, name of its stage): ("stage1_block2", "stage1") of "stage1_block2_se".

    An SE layer of a network with other names is a stage of its own.
    """
    found = NAME.fullmatch(layer.name)
    return (layer.name.removesuffix("_se"), found["stage"]) if found else (layer.name, layer.name)


def read_gates(model: keras.Model, batches: EvaluationBatches, classes: np.ndarray) -> Gates:
    """Run the images through a network and watch its SE blocks.

    `classes` (K,) holds for each class of the data its index in the network's answer (`Subject.classes`).
    ValueError for a network without SE, and where no image could be read.
    """
    model = copied(model)
    layers = se_layers(model)
    taps = [ops.mean(layer.gates(layer.input), axis=(1, 2)) for layer in layers]
    probe = keras.Model(model.inputs[0], [model.outputs[0], *taps])
    sums = [Sums(len(classes), tap.shape[-1]) for tap in taps]
    right = 0
    for images, labels, kept in kept_rows(batches):
        answers, *gates = (np.asarray(found)[kept] for found in probe.predict_on_batch(images))
        labels = labels[kept]
        right += int(np.sum(answers.argmax(axis=1) == classes[labels]))
        for total, found in zip(sums, gates, strict=True):
            total.add(found, labels)
    seen = int(sums[0].images.sum())
    if not seen:
        raise ValueError("There must be images to watch the gates on. Received: none that could be read.")
    blocks = [total.statistics(*place(layer)) for total, layer in zip(sums, layers, strict=True)]
    return Gates(blocks=blocks, images=seen, right=right)


class Sums:
    """Running sums of one block's gates for each class, in float64: of 50,000 images none is kept."""

    def __init__(self, classes: int, channels: int) -> None:
        self.images = np.zeros(classes, np.int64)
        self.first = np.zeros((classes, channels))
        self.second = np.zeros((classes, channels))
        self.closed = self.open = 0

    def add(self, gates: np.ndarray, labels: np.ndarray) -> None:
        """Gates (B, C) of images with `labels` (B,)."""
        self.closed += int(np.sum(gates < CLOSED))
        self.open += int(np.sum(gates > OPEN))
        gates = gates.astype(np.float64)
        np.add.at(self.images, labels, 1)
        np.add.at(self.first, labels, gates)
        np.add.at(self.second, labels, gates**2)

    def statistics(self, name: str, stage: str) -> BlockGates:
        images = self.images.sum()
        with np.errstate(invalid="ignore"):  # 0 / 0 for a class without images is meant to be nan
            class_mean = self.first / self.images[:, None]
            class_variance = self.second / self.images[:, None] - class_mean**2
        mean = self.first.sum(axis=0) / images
        variance = self.second.sum(axis=0) / images - mean**2
        return BlockGates(
            name=name,
            stage=stage,
            images=self.images,
            class_mean=class_mean,
            class_std=np.sqrt(np.maximum(class_variance, 0)),
            mean=mean,
            std=np.sqrt(np.maximum(variance, 0)),
            closed=self.closed / (images * len(mean)),
            open=self.open / (images * len(mean)),
        )

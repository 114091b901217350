"""What SE costs in each stage, and what the network loses where it is taken out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from senet.complexity import Shape, per_layer
from senet.data.dataset import EvaluationBatches
from senet.explain.copies import copied, kept_rows
from senet.explain.gates import Gates, place, se_layers
from senet.layers.squeeze_excite import SqueezeExcite
from senet.scores import softmax

ALL = "all"
MEAN, ONE = "mean gates", "gates of 1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What the SE blocks of a stage hold and compute for one image."""

    stage: str
    parameters: int
    multiply_adds: int
    parameters_share: float  # of the whole network's
    multiply_adds_share: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Removal:
    """The same network on the same images with a stage's gates held constant; no weight is trained again.

    `instead` is MEAN, each channel's mean gate over the images (what SE does is then lost only as far as it
    depends on the image, and nothing after it sees another scale), or ONE, no gates at all (the layers after
    it see a scale that they never saw in training). Accuracies are shares in [0, 1].
    """

    stage: str  # or ALL
    instead: str
    images: int
    top1: float
    loss: float  # mean cross-entropy
    top1_change: float  # top1 of the whole network subtracted
    top1_error: float  # standard error of that difference, paired over the images
    loss_change: float
    answers_changed: float  # share of images with another answer

    @property
    def points_lost(self) -> str:
        """Percentage points of top-1 that are lost, with their standard error."""
        return f"{0 - 100 * self.top1_change:.2f} ± {100 * self.top1_error:.2f}"


class Switched(SqueezeExcite):
    """An SE block whose gates can be held: `keep` × gates + `constant`.

    The same compiled graph serves every stage, and gates of any kind, with or without biases.
    """

    def build(self, input_shape):
        super().build(input_shape)
        held = {"trainable": False, "dtype": "float32"}
        self.keep = self.add_weight(name="keep", shape=(), initializer="ones", **held)
        self.constant = self.add_weight(
            name="constant", shape=(input_shape[-1],), initializer="zeros", **held
        )

    def gates(self, x):
        return self.keep * super().gates(x) + self.constant

    def hold(self, constant: np.ndarray | None) -> None:
        """Hold the gates at `constant` (C,), or with None let them go."""
        self.keep.assign(np.float32(constant is None))
        self.constant.assign(np.zeros(self.constant.shape, np.float32) if constant is None else constant)


def se_costs(model: keras.Model, image_shape: Shape) -> list[Cost]:
    """The cost of SE stage by stage for an image of `image_shape` (H, W, C), and last that of ALL."""
    stages = {layer.name: place(layer)[1] for layer in se_layers(model)}
    rows = per_layer(model, image_shape)
    parameters, multiply_adds = model.count_params(), sum(row.multiply_adds for row in rows)
    costs = []
    for stage in (*dict.fromkeys(stages.values()), ALL):
        own = [row for row in rows if row.name in stages and stage in (ALL, stages[row.name])]
        held, computed = sum(row.parameters for row in own), sum(row.multiply_adds for row in own)
        costs.append(
            Cost(
                stage=stage,
                parameters=held,
                multiply_adds=computed,
                parameters_share=held / parameters,
                multiply_adds_share=computed / multiply_adds,
            )
        )
    return costs


def remove_stages(
    model: keras.Model, batches: EvaluationBatches, classes: np.ndarray, gates: Gates
) -> list[Removal]:
    """Score a network (logits) with the gates of each stage held, then of all.

    `gates` are those of `read_gates` for the same network; `classes` as there. The first row is the whole
    network: its `stage` and `instead` are "". ValueError for a network without SE.
    """
    network = copied(model, switched)
    switches = {place(layer)[0]: layer for layer in network.layers if isinstance(layer, Switched)}
    variants: dict[tuple[str, str], Mapping[str, np.ndarray]] = {("", ""): {}}
    for stage in (*gates.stages, ALL):
        own = [block for block in gates.blocks if stage in (ALL, block.stage)]
        variants[stage, MEAN] = {block.name: block.mean for block in own}
        variants[stage, ONE] = {block.name: np.ones_like(block.mean) for block in own}
    found: dict[tuple[str, str], list[np.ndarray]] = {key: [] for key in variants}
    for images, labels, kept in kept_rows(batches):
        truth = classes[labels[kept]]
        for key, held in variants.items():
            for name, layer in switches.items():
                layer.hold(held.get(name))
            answers = np.asarray(network.predict_on_batch(images))[kept]
            found[key].append(marks(answers, truth))
    marked = {key: np.concatenate(parts) for key, parts in found.items()}
    return [compared(key, rows, marked["", ""]) for key, rows in marked.items()]


def switched(layer: Any) -> Switched | None:
    """The SE block with a switch that takes the place of `layer`; None for a layer that is no SE block."""
    if not isinstance(layer, SqueezeExcite):
        return None
    return Switched.from_config(layer.get_config())


def marks(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(B, 3): the answer, whether it is right, and the cross-entropy, of logits (B, classes)."""
    p = softmax(logits)[np.arange(len(truth)), truth]
    answers = logits.argmax(axis=1)
    return np.stack([answers, answers == truth, -np.log(np.maximum(p, np.finfo(np.float64).tiny))], axis=1)


def compared(key: Sequence[str], rows: np.ndarray, whole: np.ndarray) -> Removal:
    """A variant's marks (N, 3) beside those of the whole network."""
    difference = rows[:, 1] - whole[:, 1]
    images = len(rows)
    return Removal(
        stage=key[0],
        instead=key[1],
        images=images,
        top1=float(rows[:, 1].mean()),
        loss=float(rows[:, 2].mean()),
        top1_change=float(difference.mean()),
        top1_error=float(difference.std(ddof=1) / np.sqrt(images)) if images > 1 else float("nan"),
        loss_change=float(rows[:, 2].mean() - whole[:, 2].mean()),
        answers_changed=float(np.mean(rows[:, 0] != whole[:, 0])),
    )

"""Gradient checkpointing: a training step that keeps the activations at the ends of blocks only.

Source: Chen et al. 2016, arXiv:1604.06174. `benchmarks/gradient_checkpointing.py` measures what it saves and
costs.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from senet.training.optim import block_of


class Recomputed(keras.Model):
    """`network`, trained so that what lies inside its blocks is computed again for the gradient.

    The same images to the same logits, with the variables of `network`, in their order. In training each
    block is one function of its input and its variables: statistics of BatchNorm and random states are read
    before it and set after it, so that the second pass draws the same masks and moves no average twice.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name=network.name)
        self.network = network
        # Behind a function, because Keras would track the parts as layers, and count each variable twice.
        self.run_parts = functools.partial(run_parts, split(network))

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.run_parts(images) if training else self.network(images, training=False)


def split(network: keras.Model) -> list[keras.Model]:
    """The network as a chain of models, one a block, that share its layers: stem, blocks, head.

    ValueError where no single tensor leads from one block to the next.
    """
    ends = block_ends(network)
    if not ends:
        raise ValueError(
            "Gradient checkpointing needs a network of blocks, one behind another. "
            f"Received: {network.name!r}, in which no block's end is the only way to what follows."
        )
    tensors = [network.inputs[0], *ends, network.outputs[0]]
    return [keras.Model(begin, end) for begin, end in itertools.pairwise(tensors)]


def block_ends(network: keras.Model) -> list[Any]:
    """The tensors that alone lead from one block to the next, in order."""
    steps = [step for step in network.operations if not isinstance(step, keras.layers.InputLayer)]
    last_use = {id(tensor): index for index, step in enumerate(steps) for tensor in read_by(step)}
    ends, alive = [], {id(network.inputs[0])}
    for index, step in enumerate(steps[:-1]):
        alive = {tensor for tensor in alive if last_use.get(tensor, -1) > index} | {id(step.output)}
        if len(alive) == 1 and block_of(step.name) != block_of(steps[index + 1].name):
            ends.append(step.output)
    return ends


def read_by(step: Any) -> list[Any]:
    """The tensors that an operation of a functional model reads."""
    return list(keras.tree.flatten(step.input))


def run_parts(parts: Sequence[keras.Model], images: Any) -> Any:
    """The parts one behind another; the last, which has little to keep, is run as it is."""
    for part in parts[:-1]:
        images = run_part(part, images)
    return parts[-1](images, training=True)


def run_part(part: keras.Model, images: Any) -> Any:
    """The part's output for training; of all that it computes only the output is kept for the gradient."""
    learnt, states = part.trainable_variables, part.non_trainable_variables
    before = [ops.copy(variable) for variable in states]  # PyTorch assigns in place, before the second pass

    @keras.remat
    def outputs_and_states(images: Any, *weights: Any) -> Any:
        output, after = part.stateless_call(weights, before, images, training=True)
        return (output, *after)

    output, *after = outputs_and_states(images, *map(ops.convert_to_tensor, learnt))
    for variable, value in zip(states, after, strict=True):
        variable.assign(value)
    return output

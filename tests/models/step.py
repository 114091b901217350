"""One training step, the same on every engine."""

import keras
import numpy as np


def to_numpy(tensor) -> np.ndarray:
    # A copy: on the CPU PyTorch shares its memory with the array.
    return np.array(keras.ops.convert_to_numpy(tensor))


def train_one_step(model, images, targets, loss, optimizer=None):
    """The loss, and by variable path how far one step moved each trainable variable.

    Plain SGD by default, so that a variable moves exactly where its gradient is not zero.
    """
    # For a single step TensorFlow takes longer to trace the graph than to run it.
    eager = keras.backend.backend() == "tensorflow"
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss, run_eagerly=eager)
    before = {variable.path: to_numpy(variable) for variable in model.trainable_variables}
    value = float(model.train_on_batch(images, targets))
    moves = {
        variable.path: to_numpy(variable) - before[variable.path] for variable in model.trainable_variables
    }
    return value, moves


def unmoved(moves) -> list[str]:
    """The variables that stood still, or went where no number is."""
    return [path for path, move in moves.items() if not (np.isfinite(move).all() and np.any(move))]

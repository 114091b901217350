"""The network of averaged weights, beside the one that is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from senet.training.optim import ema_decay


class Averages:
    """Averages of the weights, which the optimiser keeps, and of BatchNorm's statistics, which are kept here.

    Statistics are averages themselves: to follow them every few steps, with the decay of as many, is enough,
    and needs no part in the compiled step.
    """

    EVERY = 8  # steps

    def __init__(self, model: keras.Model, trained: keras.Model, decay: float):
        # `trained` has the optimiser: the network itself, or what trains it.
        self.model, self.trained, self.decay = model, trained, decay
        norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        self.moving = [v for norm in norms for v in (norm.moving_mean, norm.moving_variance)]
        self.statistics = [
            keras.Variable(ops.copy(v), trainable=False, dtype=v.dtype, name="statistic") for v in self.moving
        ]

    def update(self, step: int) -> None:
        """Follow the statistics after step `step`."""
        keep = float(ops.convert_to_numpy(ema_decay(self.decay, step))) ** self.EVERY
        for average, value in zip(self.statistics, self.moving, strict=True):
            average.assign(keep * average + (1 - keep) * value)

    def pairs(self) -> list[tuple[Any, Any]]:
        """Each variable of the network with its average; one that does not learn has none."""
        optimizer: Any = self.trained.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # under loss scaling
        return [
            *zip(self.model.trainable_variables, optimizer.averages, strict=True),
            *zip(self.moving, self.statistics, strict=True),
        ]

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Put the averages into the network, and its own values back at the end."""
        pairs = self.pairs()
        own = [ops.copy(variable) for variable, _ in pairs]  # not the variable's memory, which changes
        try:
            for variable, average in pairs:
                variable.assign(ops.copy(average))
            yield
        finally:
            for (variable, _), value in zip(pairs, own, strict=True):
                variable.assign(value)

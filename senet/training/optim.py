"""Optimisers, learning rate schedules and the loss, made from their configs."""

from __future__ import annotations

import math
import re
from typing import Any

import keras
from keras import ops

from senet.training.config import Optimizer, Schedule

# Biases and BatchNorm. TensorFlow's optimiser hands over its own variables, named "gamma:0".
UNDECAYED = r"(^|/)(bias|gamma|beta)(:\d+)?$"


class CoupledDecay:
    """Mix-in that adds `l2 × w` to the gradient of every kernel, before the update rule sees it.

    Keras' own `weight_decay` is the decoupled kind; a kernel regulariser would do this too, but puts the
    penalty into the reported loss.
    """

    def __init__(self, *args: Any, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.l2 = l2

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self.l2 and not re.search(UNDECAYED, variable.name):
            gradient = gradient + ops.cast(self.l2, gradient.dtype) * ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2": self.l2}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="senet")
class SGD(CoupledDecay, keras.optimizers.SGD):
    """SGD with L2 weight decay on kernels."""


@keras.saving.register_keras_serializable(package="senet")
class Adam(CoupledDecay, keras.optimizers.Adam):
    """Adam with L2 weight decay on kernels."""


@keras.saving.register_keras_serializable(package="senet")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """`peak` times the factor that a `Schedule` gives at a step; steps count from 0."""

    def __init__(self, peak: float, schedule: dict[str, Any], steps_per_epoch: int, epochs: int) -> None:
        self.peak, self.schedule, self.steps_per_epoch, self.epochs = peak, schedule, steps_per_epoch, epochs
        self.config = Schedule(**schedule)

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rule = {
            "constant": self.constant,
            "step": self.step,
            "cosine": self.cosine,
            "one_cycle": self.one_cycle,
        }
        return self.peak * rule[self.config.name](step)

    @property
    def total(self) -> float:
        return float(self.steps_per_epoch * self.epochs)

    @property
    def warmup(self) -> float:
        """Steps of the warm-up, at least one, so that it can be divided by."""
        return max(1.0, self.config.warmup_epochs * self.steps_per_epoch)

    def warm(self, step: Any, factor: Any) -> Any:
        if not self.config.warmup_epochs:
            return factor
        # The first step is not 0: a step that changes nothing is wasted.
        return ops.where(step < self.warmup, (step + 1) / self.warmup, factor)

    def constant(self, step: Any) -> Any:
        return self.warm(step, ops.ones_like(step))

    def step(self, step: Any) -> Any:
        factor = ops.ones_like(step)
        for at, times in zip(self.config.at, self.config.factors, strict=True):
            drop = at * self.total if at < 1 else at * self.steps_per_epoch
            factor = factor * ops.where(step >= drop, times, 1.0)
        return self.warm(step, factor)

    def cosine(self, step: Any) -> Any:
        start = self.warmup if self.config.warmup_epochs else 0.0
        return self.warm(step, self.fall(step, start))

    def one_cycle(self, step: Any) -> Any:
        top = max(1.0, self.config.rise * self.total)
        return ops.where(step < top, (step + 1) / top, self.fall(step, top))

    def fall(self, step: Any, start: float) -> Any:
        """Half a cosine from 1 at `start` to `final` at the last step."""
        share = ops.clip((step - start) / max(1.0, self.total - 1 - start), 0.0, 1.0)
        final = self.config.final
        return final + (1 - final) * 0.5 * (1 + ops.cos(math.pi * share))

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "schedule": self.schedule,
            "steps_per_epoch": self.steps_per_epoch,
            "epochs": self.epochs,
        }


def make_optimizer(config: Optimizer, schedule: Schedule, *, steps: int, epochs: int) -> keras.Optimizer:
    """The optimiser of a run of `epochs` epochs of `steps` steps."""
    lr = LearningRate(config.lr, schedule.model_dump(mode="json"), steps, epochs)
    if config.name == "sgd":
        options: dict[str, Any] = {"momentum": config.momentum, "nesterov": config.nesterov}
        coupled, decoupled = SGD, keras.optimizers.SGD
    else:
        options = {"beta_1": config.beta_1, "beta_2": config.beta_2, "epsilon": config.epsilon}
        coupled, decoupled = Adam, keras.optimizers.Adam
    if config.decay == "l2":
        return coupled(lr, l2=config.weight_decay, **options)
    optimizer = decoupled(lr, weight_decay=config.weight_decay or None, **options)
    optimizer.exclude_from_weight_decay(var_names=[UNDECAYED])
    return optimizer


@keras.saving.register_keras_serializable(package="senet")
class Crossentropy(keras.losses.Loss):
    """Mean cross-entropy of integer labels (N,) and logits (N, classes), with label smoothing.

    The smoothed target is `1 - s + s / classes` for the label and `s / classes` for the others
    (Szegedy et al. 2016).
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        log_p = ops.log_softmax(ops.cast(y_pred, "float32"))
        target = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), y_pred.shape[-1])
        smooth = self.label_smoothing
        return -ops.sum(((1 - smooth) * target + smooth / y_pred.shape[-1]) * log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}

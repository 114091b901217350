"""Optimisers, learning rate schedules and the loss, made from their configs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from senet.training.config import Optimizer, Schedule

# Biases and BatchNorm. TensorFlow's optimiser hands over its own variables, named "gamma:0".
UNDECAYED = r"(^|/)(bias|gamma|beta)(:\d+)?$"

AVERAGE = "average"  # ending of the names of variables that hold averaged weights


class Extras:
    """Mix-in for an update rule: weight decay, a learning rate for each variable, averages of the weights.

    - `l2` adds `l2 × w` to the gradient of every kernel, before the update rule sees it. A kernel regulariser
      would do this too, but puts the penalty into the reported loss.
    - `decoupled` subtracts `lr × decoupled × w` beside the update. Keras' own `weight_decay` does the same,
      with one learning rate for all.
    - `factors` multiply the learning rate, one for each variable in the order of `build`; None: all 1.
    - `ema` keeps a moving average of every variable, `a += (1 - d) × (w - a)` after each update, where d is
      `ema`, at update t from 0 no more than (1 + t) / (10 + t), so that a short run is not all beginning.
      Keras' own `use_ema` puts the averages into the network at the end of every `fit`.
    """

    def __init__(
        self,
        *args: Any,
        l2: float = 0.0,
        decoupled: float = 0.0,
        factors: Sequence[float] | None = None,
        ema: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.l2, self.decoupled, self.ema = l2, decoupled, ema
        self.factors = None if factors is None else list(factors)
        self.averages: list[Any] = []

    def build(self, variables: Any) -> None:
        variables = list(variables)
        super().build(variables)  # type: ignore[misc]
        if self.factors is not None and len(self.factors) != len(variables):
            raise ValueError(
                f"`factors` must hold one for each of {len(variables)} variables. "
                f"Received: {len(self.factors)}."
            )
        if self.ema is not None:
            add = self.add_variable_from_reference  # type: ignore[attr-defined]
            self.averages = [add(v, name=AVERAGE) for v in variables]
            for average, variable in zip(self.averages, variables, strict=True):
                average.assign(ops.copy(variable))  # JAX would share the memory, which a step gives away

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)  # type: ignore[attr-defined]
        if self.factors is not None:
            learning_rate = learning_rate * self.factors[index]
        if not re.search(UNDECAYED, variable.name):
            if self.l2:
                gradient = gradient + ops.cast(self.l2, gradient.dtype) * ops.cast(variable, gradient.dtype)
            if self.decoupled:
                shrink = ops.cast(learning_rate * self.decoupled, variable.dtype)
                self.assign_sub(variable, shrink * variable)  # type: ignore[attr-defined]
        super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]
        if self.ema is not None:
            average = self.averages[index]
            follow = ops.cast(1 - ema_decay(self.ema, self.iterations), variable.dtype)  # type: ignore[attr-defined]
            self.assign_add(average, follow * (variable - average))  # type: ignore[attr-defined]

    def finalize_variable_values(self, variables: Any) -> None:
        """Nothing: the average is looked at beside the weights, it does not replace them."""

    def get_config(self) -> dict[str, Any]:
        own = {"l2": self.l2, "decoupled": self.decoupled, "factors": self.factors, "ema": self.ema}
        return {**super().get_config(), **own}  # type: ignore[misc]


def ema_decay(decay: float, update: Any) -> Any:
    """The share of the old average that is kept at an update, counted from 0."""
    update = ops.cast(update, "float32")
    return ops.minimum(decay, (1 + update) / (10 + update))


@keras.saving.register_keras_serializable(package="senet")
class SGD(Extras, keras.optimizers.SGD):
    """SGD with momentum."""


@keras.saving.register_keras_serializable(package="senet")
class Adam(Extras, keras.optimizers.Adam):
    """Adam; with `decoupled`, AdamW."""


@keras.saving.register_keras_serializable(package="senet")
class Lamb(Extras, keras.optimizers.Lamb):
    """LAMB (You et al. 2020, arXiv:1904.00962)."""


@keras.saving.register_keras_serializable(package="senet")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """`peak` times the factor that a `Schedule` gives at a step; steps count from 0."""

    def __init__(self, peak: float, schedule: dict[str, Any], steps_per_epoch: float, epochs: int) -> None:
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


def make_optimizer(
    config: Optimizer,
    schedule: Schedule,
    *,
    steps: int,
    epochs: int,
    batch: int | None = None,
    factors: Sequence[float] | None = None,
    ema: float | None = None,
) -> keras.Optimizer:
    """The optimiser of a run of `epochs` epochs of `steps` steps of `batch` images.

    `factors`: see `Extras` and `layer_factors`.
    """
    # Schedules count updates, of which there is one in `accumulate` steps.
    lr = LearningRate(config.peak(batch), schedule.model_dump(mode="json"), steps / config.accumulate, epochs)
    options: dict[str, Any] = {
        "factors": factors,
        "ema": ema,
        "global_clipnorm": config.clip_norm,
        "gradient_accumulation_steps": config.accumulate if config.accumulate > 1 else None,
        config.decay: config.weight_decay,
    }
    if config.name == "sgd":
        return SGD(lr, momentum=config.momentum, nesterov=config.nesterov, **options)
    rule = Lamb if config.name == "lamb" else Adam
    return rule(lr, beta_1=config.beta_1, beta_2=config.beta_2, epsilon=config.epsilon, **options)


def layer_factors(model: keras.Model, decay: float) -> list[float] | None:
    """A factor of the learning rate for each trainable variable: 1 in the head, times `decay` a block down.

    Blocks are told apart by the names of layers: the stem's parts, stage1_block1, …, the classifier, in the
    order of the network. None for a decay of 1.
    """
    if decay == 1:
        return None
    blocks = list(dict.fromkeys(block_of(layer.name) for layer in model.layers if layer.weights))
    depth = {block: index for index, block in enumerate(blocks)}
    return [
        decay ** (len(blocks) - 1 - depth[block_of(v.path.split("/")[0])]) for v in model.trainable_variables
    ]


def block_of(layer: str) -> str:
    """ "stage1_block2_spatial1_conv" is of "stage1_block2", "stem_conv" of "stem"."""
    found = re.match(r"stage[^_]*_block\d+|[^_]+", layer)
    return found[0] if found else layer


@keras.saving.register_keras_serializable(package="senet")
class Crossentropy(keras.losses.Loss):
    """Cross-entropy of logits (N, classes), meaned over images, with label smoothing.

    Labels are integers (N,) or shares (N, classes). The smoothed target is `(1 - s) × target + s / classes`
    (Szegedy et al. 2016).
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def targets(self, y_true: Any, y_pred: Any) -> Any:
        """(N, classes) float32."""
        smooth, classes = self.label_smoothing, y_pred.shape[-1]
        return (1 - smooth) * shares(y_true, classes) + smooth / classes

    def call(self, y_true: Any, y_pred: Any) -> Any:
        log_p = ops.log_softmax(ops.cast(y_pred, "float32"))
        return -ops.sum(self.targets(y_true, y_pred) * log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="senet")
class BinaryCrossentropy(Crossentropy):
    """Each class as a yes or no of its own, meaned over images and classes.

    Source: Wightman et al. 2021, arXiv:2110.00476, section 3.
    Labels and smoothing as of `Crossentropy`.
    """

    def __init__(self, label_smoothing: float = 0.0, name: str = "binary_crossentropy", **kwargs: Any):
        super().__init__(label_smoothing, name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        target, logits = self.targets(y_true, y_pred), ops.cast(y_pred, "float32")
        return ops.mean(ops.softplus(logits) - target * logits, axis=-1)


def shares(labels: Any, classes: int) -> Any:
    """Labels (N,), (N, 1) or (N, classes) as shares (N, classes) float32."""
    if len(labels.shape) == 2 and labels.shape[-1] == classes and classes > 1:
        return ops.cast(labels, "float32")
    return ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), classes)


@keras.saving.register_keras_serializable(package="senet")
class Accuracy(keras.metrics.MeanMetricWrapper):
    """Share of images whose highest logit is that of the label, or of the label with the largest share."""

    def __init__(self, name: str = "accuracy", **kwargs: Any) -> None:
        super().__init__(hits, name=name, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}


def hits(labels: Any, logits: Any) -> Any:
    """1 for a right answer, else 0: (N,) float32."""
    wanted = ops.argmax(shares(labels, logits.shape[-1]), axis=-1)
    return ops.cast(ops.equal(wanted, ops.argmax(logits, axis=-1)), "float32")


@keras.saving.register_keras_serializable(package="senet")
class MeanCrossentropy(keras.metrics.MeanMetricWrapper):
    """Mean cross-entropy, whatever the loss is; images of weight 0 do not count.

    The `loss` that Keras reports in `evaluate` divides by the images of weight 0 too.
    """

    def __init__(self, name: str = "crossentropy", **kwargs: Any) -> None:
        super().__init__(Crossentropy(reduction="none"), name=name, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}

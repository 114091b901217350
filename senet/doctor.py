"""The mistakes people make with image networks, each found by one function that says how to mend it.

A check takes what it needs of a config, a sample of the data and a network, and returns a `Finding`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

import keras
import numpy as np

from senet.data import Preprocess
from senet.data.labels import imagenet_classes
from senet.training.config import Optimizer
from senet.zoo import get_spec

Level = Literal["ok", "warning", "wrong"]

WHITE = 255.0
LARGEST_DEVIATION = WHITE / 2  # of pixels: half of them black, half of them white
IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB
CLOSE = 0.25  # relative difference up to which two deviations count as one
# Peak learning rate for 256 images: Goyal et al. 2017 for SGD; timm's usual values for the others.
RATES_FOR_256 = {"sgd": 0.1, "adam": 1e-3, "adamw": 1e-3, "lamb": 1e-3}
FAR = 10.0  # times the linear rule, either way
SHORT_RUN = 0.1  # share of BatchNorm's first values that may be left at the end


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found: its name, how bad it is, and in a sentence what was seen and how to mend it."""

    check: str
    level: Level
    text: str


def ok(check: str, text: str) -> Finding:
    return Finding(check, "ok", text)


def warning(check: str, text: str) -> Finding:
    """What may be meant, and mostly is not."""
    return Finding(check, "warning", text)


def wrong(check: str, text: str) -> Finding:
    """What nobody means."""
    return Finding(check, "wrong", text)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """The first training batches, not varied: `images` (N, H, W, C) as the network reads them.

    `batches` holds the class indices of each batch.
    """

    images: np.ndarray
    batches: Sequence[np.ndarray]
    preprocess: Preprocess

    @property
    def pixels(self) -> np.ndarray:
        """The images before they were normalised, whatever they were normalised with."""
        mean, std = (np.array(each, np.float32) for each in (self.preprocess.mean, self.preprocess.std))
        return self.images * std + mean


# Preprocessing


def check_units(preprocess: Preprocess) -> Finding:
    """Mean and deviation must be those of pixels in 0..255."""
    name, mean, std = "units", preprocess.mean, preprocess.std
    if max(map(abs, mean)) <= 1 and max(std) <= 1 and (any(mean) or min(std) < 1):
        return wrong(
            name,
            f"mean {numbers(mean)} and std {numbers(std)} are for pixels in 0..1, but pixels are 0..255: "
            "multiply both by 255, or use Preprocess.timm(mean=…, std=…).",
        )
    if not any(mean) and set(std) == {1.0}:
        return warning(
            name,
            "mean 0 and std 1 leave pixels at 0..255: right only for a network that scales them itself.",
        )
    return ok(name, f"mean {numbers(mean)}, std {numbers(std)}, of pixels in 0..255.")


def check_pixels(pixels: np.ndarray) -> Finding:
    """Images (N, H, W, C) must reach the preprocessing as pixels in 0..255."""
    name, low, high = "pixels", float(pixels.min()), float(pixels.max())
    if low < -1 or high > WHITE + 1:
        return wrong(
            name,
            f"values reach from {low:.3g} to {high:.3g}, outside 0..255: they are normalised twice, "
            "or deeper than 8 bits. Hand over the pixels as they are in the file.",
        )
    if high <= 1.01 and high > low:
        return wrong(
            name,
            f"values reach from {low:.3g} to {high:.3g}: the images are divided by 255 before a "
            "preprocessing that expects 0..255. Hand over the pixels as they are in the file.",
        )
    if float(pixels.std()) < 1:
        return wrong(
            name,
            f"all pixels are about {pixels.mean():.0f}: the images are empty. Look at the files.",
        )
    return ok(name, f"values reach from {low:.0f} to {high:.0f}.")


def check_deviation(preprocess: Preprocess, pixels: np.ndarray) -> Finding:
    """`std` must be a standard deviation, not its square."""
    name, given = "deviation", np.array(preprocess.std)
    seen = pixels.std(axis=(0, 1, 2), dtype=np.float64)
    variances = (seen**2, seen**2 / WHITE)  # of pixels in 0..255; of pixels in 0..1, times 255
    is_variance = any(close(given, variance) for variance in variances) and not close(given, seen)
    if is_variance or given.max() > LARGEST_DEVIATION:
        return wrong(
            name,
            f"std {numbers(given)} is a variance, the pixels deviate by {numbers(seen)}: take its root.",
        )
    return ok(name, f"the pixels deviate by {numbers(seen)}, divided by {numbers(given)}.")


def check_channel_order(preprocess: Preprocess, pixels: np.ndarray) -> Finding:
    """The mean must be that of red, green and blue, in this order, as images are read here."""
    name, mean = "channel order", np.array(preprocess.mean)
    if len(mean) != 3:
        return ok(name, "one channel.")
    fix = "Images are read as RGB here: reverse mean and std, or the first kernel of weights for BGR."
    if distance(mean[::-1], IMAGENET_MEAN) < 5 < distance(mean, IMAGENET_MEAN):
        return wrong(name, f"mean {numbers(mean)} is ImageNet's in the order BGR. {fix}")
    seen = pixels.mean(axis=(0, 1, 2), dtype=np.float64)
    spread = distance(mean, mean[::-1])
    if spread > 5 and distance(mean, seen) - distance(mean[::-1], seen) > 0.5 * spread:
        return warning(
            name,
            f"the data's channel means {numbers(seen)} fit the mean {numbers(mean)} better in reverse: are "
            f"the images BGR? {fix}",
        )
    return ok(name, f"channel means {numbers(seen)} beside a mean of {numbers(mean)}.")


# Data


def check_classes(batches: Sequence[np.ndarray]) -> Finding:
    """There must be several classes, and each batch must hold about as many as a random draw would."""
    name, labels = "shuffling", np.concatenate(batches)
    found, counts = np.unique(labels, return_counts=True)
    if len(found) == 1:
        return wrong(
            name,
            f"all of {len(labels)} images are of one class, {found[0]}: check the folders, or shuffle them.",
        )
    shares = counts / counts.sum()
    seen = float(np.mean([len(np.unique(batch)) for batch in batches]))
    expected = float(np.mean([(1 - (1 - shares) ** len(batch)).sum() for batch in batches]))
    if len(batches) > 1 and seen < expected / 2:
        return wrong(
            name,
            f"a batch holds {seen:.1f} classes, where shuffled ones would hold {expected:.1f}: the images "
            "come sorted by class. Shuffle them before batching; `senet data pack` does it for shards.",
        )
    return ok(name, f"a batch holds {seen:.1f} classes, as shuffled ones do.")


def check_label_order(class_names: Sequence[str], weights: str | None = None) -> Finding:
    """Classes must be numbered in the order of their sorted names: WordNet ids, for ImageNet."""
    name, rows = "label order", imagenet_classes()
    challenge = sorted(rows, key=lambda row: row.ilsvrc2012_id)
    fix = "Keras and timm number the sorted WordNet ids: map by senet.data.labels.imagenet_classes()."
    if list(class_names) in ([row.wnid for row in challenge], [row.name for row in challenge]):
        return wrong(name, f"the classes are in the order of the ILSVRC2012 challenge. {fix}")
    numbered = all(text.isdigit() for text in class_names)
    if numbered and len(class_names) == len(rows) and weights is not None:
        return warning(
            name,
            f"the 1000 classes are called by numbers; those of the ILSVRC2012 development kit are not in the "
            f"order of {weights}. {fix}",
        )
    if numbered and [int(text) for text in class_names] != sorted(int(text) for text in class_names):
        return warning(
            name,
            f"numbers are sorted as text: class {class_names[2]!r} has index 2. Call them 000, 001, … if the "
            "index matters.",
        )
    return ok(name, f"{len(class_names)} classes, {class_names[0]} is index 0.")


# Network


def check_head(network: keras.Model, classes: int) -> Finding:
    """The network must end in one number a class, logits where it is to be trained here."""
    name, shape = "head", network.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2:
        return wrong(name, f"the network ends in {shape}, without a classifier: include_top=True.")
    if shape[1] != classes:
        return wrong(name, f"the network has {shape[1]} classes, the data {classes}: classes={classes}.")
    last = [is_softmax(operation) for operation in flat_operations(network) if not is_linear(operation)][-2:]
    if last == [True, True]:
        return wrong(name, "softmax is taken twice, which flattens every answer: leave out the last layer.")
    if last[-1:] == [True]:
        return warning(
            name,
            "the network ends in a softmax, and `senet train` takes logits: classifier_activation=None. "
            "With a loss of your own: from_logits=False.",
        )
    return ok(name, f"logits of {classes} classes.")


def flat_operations(network: keras.Model) -> Iterator[keras.Operation]:
    """All operations of a network in order, those of networks within it in their place."""
    for operation in getattr(network, "operations", network.layers):
        if isinstance(operation, keras.Model):
            yield from flat_operations(operation)
        else:
            yield operation


def is_softmax(operation: keras.Operation) -> bool:
    """Whether an operation is a softmax, as a layer, as a layer's activation, or of `keras.ops`."""
    softmax = keras.activations.softmax
    return type(operation).__name__ == "Softmax" or getattr(operation, "activation", None) is softmax


def is_linear(operation: keras.Operation) -> bool:
    """Whether an operation is an activation that does nothing."""
    return isinstance(operation, keras.layers.Activation) and operation.activation is keras.activations.linear


def check_batchnorm(network: keras.Model, steps: int | None = None) -> Finding:
    """BatchNorm's momentum must be the share that is kept; over `steps`, the first values must fade."""
    name = "batch norm"
    kept = sorted(
        {x.momentum for x in flat_operations(network) if isinstance(x, keras.layers.BatchNormalization)}
    )
    if not kept:
        return ok(name, "there is none.")
    if kept[0] < 0.5:
        return wrong(
            name,
            f"momentum {kept[0]:g} is PyTorch's convention, the share that is replaced. Keras' is the share "
            f"that is kept: {1 - kept[0]:g}.",
        )
    left = kept[-1] ** steps if steps else 0.0
    if left > SHORT_RUN:
        return warning(
            name,
            f"momentum {kept[-1]:g} over {steps} steps leaves {left:.0%} of the first values in the moving "
            "statistics: train longer, with smaller batches, or model_options.bn_momentum=0.9.",
        )
    return ok(name, f"momentum {numbers(kept)}, the share that is kept.")


def check_stem(model: str, options: dict, side: int) -> Finding:
    """The network must not shrink its images to a single position."""
    name, spec = "stem", get_spec(model).change(**options)
    left = -(-side // spec.stride)
    if left < 2:
        return warning(
            name,
            f"{model} divides the sides by {spec.stride}: of {side}x{side} pixels {left}x{left} is left for "
            "the last stage. Use a `_cifar` network (`senet list '*_cifar'`) or a larger data.image_size.",
        )
    return ok(name, f"{side}x{side} pixels become {left}x{left} in the last stage.")


def check_precision(network: keras.Model) -> Finding:
    """Half precision must keep its weights in float32 and scale its loss."""
    name = "precision"
    policies = {
        operation.dtype_policy.name for operation in flat_operations(network) if has_policy(operation)
    }
    if "float16" in policies:
        return wrong(
            name,
            "layers keep their weights in float16, where small gradients become 0: use the policy "
            "mixed_float16, or mixed_bfloat16.",
        )
    optimizer = getattr(network, "optimizer", None)
    scaled = optimizer is None or isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if "mixed_float16" in policies and not scaled:
        return wrong(
            name,
            "mixed_float16 without loss scaling: small gradients become 0. Compile with "
            "auto_scale_loss=True, or wrap the optimiser in keras.optimizers.LossScaleOptimizer.",
        )
    return ok(name, ", ".join(sorted(policies)) or "float32")


def has_policy(operation: keras.Operation) -> bool:
    """Whether an operation is a layer with weights, whose precision matters."""
    return isinstance(operation, keras.Layer) and bool(operation.weights)


def check_data_format() -> Finding:
    """Keras must be set to channels last, the only format here."""
    name, found = "data format", keras.config.image_data_format()
    if found != "channels_last":
        return wrong(
            name,
            f"Keras is set to {found}: keras.config.set_image_data_format('channels_last'), or "
            '"image_data_format": "channels_last" in ~/.keras/keras.json.',
        )
    return ok(name, found)


# Training


def check_learning_rate(optimizer: Optimizer, batch: int, *, pretrained: bool) -> Finding:
    """The peak learning rate must be within FAR of the linear rule; `pretrained` weights may learn slower."""
    name, images = "learning rate", batch * optimizer.accumulate
    usual = RATES_FOR_256[optimizer.name] * images / 256
    peak = optimizer.peak(batch)
    if peak > FAR * usual or (peak < usual / FAR and not pretrained):
        return warning(
            name,
            f"{peak:g} is {peak / usual:.3g} times the usual {usual:.3g} of {optimizer.name} for "
            f"{images} images a step (linear rule, Goyal et al. 2017): optimizer.lr={usual:.2g}, "
            "or optimizer.lr_batch.",
        )
    return ok(name, f"{peak:g}, {peak / usual:.2g} times the linear rule for {images} images.")


def check_devices(batch: int, accelerators: Sequence[str]) -> Finding:
    """There should be an accelerator, and a batch that all of them can share."""
    name, count = "devices", len(accelerators)
    if not count:
        return warning(
            name,
            f"{keras.backend.backend()} sees no accelerator, so the processor does the work. Check "
            "the driver (nvidia-smi), and that the engine is installed with support for it.",
        )
    if batch % count:
        fits = max(1, round(batch / count)) * count
        return warning(
            name,
            f"batch {batch} cannot be shared by {count} devices (--devices all): batch={fits}.",
        )
    return ok(name, f"{count} x {accelerators[0]}")


def close(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two sets of deviations are the same, roughly."""
    return bool(np.all(np.abs(one - other) <= CLOSE * np.abs(other)))


def distance(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """The largest difference of two means, in grey levels."""
    return float(np.max(np.abs(np.asarray(one) - np.asarray(other))))


def numbers(values: Sequence[float] | np.ndarray) -> str:
    """ "123.7, 116.3, 103.5"."""
    return ", ".join(f"{value:.4g}" for value in values)

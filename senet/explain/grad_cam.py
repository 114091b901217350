"""Where in an image a network sees a class: Grad-CAM, with no gradient where none is needed.

Selvaraju et al. 2017, arXiv:1610.02391.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from senet.errors import did_you_mean
from senet.explain.copies import copied

LAST = "last"
STAGE = r"stage\d+"
AUTO, CLOSED_FORM, GRADIENT = "auto", "closed form", "gradient"
WAYS = (AUTO, CLOSED_FORM, GRADIENT)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Maps:
    """What Grad-CAM found for N images.

    `maps` (N, h, w) float32 are at least 0, in units of the class's logit: what the positions of `layer`
    speak for the class. `logits` (N, classes); `classes` (N,) are those that were asked for.
    """

    layer: str
    way: str  # CLOSED_FORM or GRADIENT
    maps: np.ndarray
    logits: np.ndarray
    classes: np.ndarray


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    classes: int | Sequence[int] | None = None,
    *,
    layer: str = LAST,
    way: str = AUTO,
) -> Maps:
    """Grad-CAM maps of images (N, H, W, C) float32, prepared for the network. See `GradCam`."""
    return GradCam(model, layer=layer, way=way)(images, classes)


class GradCam:
    """Grad-CAM of one layer of a network, for any number of batches; the network is left as it is.

    Args:
        model: a functional classifier, images (N, H, W, C) to logits or probabilities (N, classes). The score
            that is explained is the logit.
        layer: where to look: "last" (the last feature map), a stage ("stage3": its output) or a layer's name.
        way: "closed form" needs no gradient, at the last feature map of a network that ends in a global mean
            and one dense layer: the logit's gradient is the class's column of the classifier over the number
            of positions, everywhere. "gradient" asks the engine. "auto": the first where it is to be had.

    Raises ValueError for an unknown layer, one without a map (N, h, w, C), and a closed form where there is
    none.
    """

    def __init__(self, model: keras.Model, *, layer: str = LAST, way: str = AUTO) -> None:
        if way not in WAYS:
            raise ValueError(f"`way` must be one of {', '.join(map(repr, WAYS))}. Received: way={way!r}.")
        network = copied(model)
        logits, head = logits_of(network), mean_head(network)
        features = find_features(network, layer, head)
        at_last = head is not None and features is head.features
        if way == CLOSED_FORM and not at_last:
            raise ValueError(
                "The closed form needs the last feature map of a network that ends in a global mean and one "
                f"dense layer. Received: {model.name} at {layer!r}. Ask for way='gradient'."
            )
        self.layer = producer(network, features).name
        self.way = CLOSED_FORM if at_last and way != GRADIENT else GRADIENT
        self.kernel = None
        if head is not None and self.way == CLOSED_FORM:
            self.kernel = np.asarray(keras.ops.convert_to_numpy(head.classifier.kernel))
        self.front = keras.Model(network.inputs[0], [features, logits])
        self.rest = keras.Model([network.inputs[0], features], logits)

    def __call__(self, images: np.ndarray, classes: int | Sequence[int] | None = None) -> Maps:
        """The maps of images (N, H, W, C) float32.

        `classes` is a class index, one for each image, or None for what the network says. ValueError for an
        unknown class and images of another shape.
        """
        if images.ndim != 4 or not len(images):
            raise ValueError(f"`images` must be (N, H, W, C), at least one. Received: shape {images.shape}.")
        found, logits = (np.asarray(part) for part in self.front.predict_on_batch(images))
        wanted = check_classes(classes, logits)
        if self.kernel is not None:
            weights = self.kernel[:, wanted].T / np.prod(found.shape[1:3])
        else:
            weights = gradients(self.rest, images, found, wanted).mean(axis=(1, 2))
        maps = np.einsum("nhwc,nc->nhw", found.astype(np.float32), weights.astype(np.float32))
        return Maps(layer=self.layer, way=self.way, maps=np.maximum(maps, 0), logits=logits, classes=wanted)


# The graph


@dataclasses.dataclass(frozen=True, eq=False)
class MeanHead:
    """The end of a network: a feature map (N, h, w, C), its mean over positions, a dense layer."""

    features: Any
    classifier: Any


def logits_of(network: keras.Model) -> Any:
    """The tensor of a network's logits; ValueError where its last layer does not tell them.

    A Softmax layer or softmax activation at the end is left out.
    """
    tensor = network.outputs[0]
    last = producer(network, tensor)
    if isinstance(last, layers.Softmax):
        return last.input
    if isinstance(last, layers.Activation):
        if last.activation in (keras.activations.softmax, keras.activations.linear):
            return last.input
    elif isinstance(last, layers.Dense) and last.activation is keras.activations.linear:
        return tensor
    raise ValueError(
        "The network must end in logits: a linear Dense layer, and a softmax in a layer of its own if in "
        f"any. Received: {network.name}, which ends in {getattr(last, 'name', last)!r}. Build it with "
        "classifier_activation=None."
    )


def mean_head(network: keras.Model) -> MeanHead | None:
    """The global mean and the dense layer that a network ends in; None where it ends otherwise."""
    dense = producer(network, logits_of(network))
    if not isinstance(dense, layers.Dense):
        return None
    pool = producer(network, dense.input)
    while isinstance(pool, layers.Dropout):
        pool = producer(network, pool.input)
    if not isinstance(pool, layers.GlobalAveragePooling2D) or pool.data_format != "channels_last":
        return None
    return MeanHead(pool.input, dense)


def find_features(network: keras.Model, layer: str, head: MeanHead | None) -> Any:
    """The feature map that `layer` names, as `grad_cam` takes it."""
    mapped = {each.name: each for each in network.operations[1:] if has_map(each)}
    if layer == LAST and head is not None:
        return head.features
    # Behind the stages a VGG has maps of one position, in which nothing has a place.
    of_stage = [
        name for name in mapped if re.match(rf"{STAGE if layer == LAST else re.escape(layer)}[a-z]?_", name)
    ]
    name = layer if layer in mapped else [*mapped, *of_stage][-1] if of_stage or layer == LAST else None
    if name is None:
        stages = dict.fromkeys(found[0] for name in mapped if (found := re.match(STAGE, name)))
        raise ValueError(
            f"`layer` must be 'last', a stage ({', '.join(stages)}) or a layer with an output (N, h, w, C). "
            f"Received: layer={layer!r}.{did_you_mean(layer, [*stages, *mapped])}"
        )
    return mapped[name].output


def has_map(layer: Any) -> bool:
    """Whether a layer gives one feature map (N, h, w, C)."""
    output = layer.output
    return not isinstance(output, (list, tuple, dict)) and len(output.shape) == 4


def producer(network: keras.Model, tensor: Any) -> Any:
    """The layer or operation that gives a tensor of the network."""
    return next(
        each
        for each in network.operations
        if any(output is tensor for output in keras.tree.flatten(each.output))
    )


def check_classes(classes: int | Sequence[int] | None, answers: np.ndarray) -> np.ndarray:
    """A class index for each image (N,); ValueError for one that the network does not have."""
    if classes is None:
        return answers.argmax(axis=1)
    wanted = np.array(np.broadcast_to(np.asarray(classes), len(answers)))
    if wanted.dtype.kind != "i" or wanted.min() < 0 or wanted.max() >= answers.shape[1]:
        raise ValueError(
            f"`classes` must be indices in 0..{answers.shape[1] - 1}. Received: classes={classes!r}."
        )
    return wanted


# Gradients


def gradients(rest: keras.Model, images: np.ndarray, features: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """d logit / d features (N, h, w, C) of each image's class.

    `rest` gives the logits of (images, features): a layer inside a branch leaves a way around it.
    """
    engine = keras.backend.backend()
    if engine not in ENGINES:
        raise ValueError(f"Gradients are for {', '.join(ENGINES)}. Received: the engine {engine!r}.")
    chosen = np.eye(rest.output_shape[-1], dtype=np.float32)[classes]
    return ENGINES[engine](rest, images, features, chosen)


def of_tensorflow(rest: keras.Model, images: np.ndarray, features: np.ndarray, chosen: np.ndarray) -> Any:
    import tensorflow as tf

    given, at = tf.convert_to_tensor(images), tf.convert_to_tensor(features)
    with tf.GradientTape() as tape:
        tape.watch(at)
        score = tf.reduce_sum(tf.cast(rest([given, at], training=False), "float32") * chosen)
    return tape.gradient(score, at).numpy()


def of_jax(rest: keras.Model, images: np.ndarray, features: np.ndarray, chosen: np.ndarray) -> Any:
    import jax

    held = [variable.value for variable in rest.trainable_variables]
    others = [variable.value for variable in rest.non_trainable_variables]

    def score(at: Any) -> Any:
        logits, _ = rest.stateless_call(held, others, [images, at], training=False)
        return (logits.astype("float32") * chosen).sum()

    return np.asarray(jax.jit(jax.grad(score))(features))


def of_torch(rest: keras.Model, images: np.ndarray, features: np.ndarray, chosen: np.ndarray) -> Any:
    import torch

    convert = keras.ops.convert_to_tensor
    at = convert(features).detach().requires_grad_(True)
    score = (rest([convert(images), at], training=False).float() * convert(chosen)).sum()
    return torch.autograd.grad(score, at)[0].cpu().numpy()


ENGINES: dict[str, Callable[..., Any]] = {"tensorflow": of_tensorflow, "jax": of_jax, "torch": of_torch}

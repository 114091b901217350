"""The head that most networks share."""

from __future__ import annotations

import random

from keras import layers


def build_head(x, *, classes: int, dropout: float, activation: str | None):
    """Global mean, dropout, classifier: (N, H, W, C) to (N, classes)."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        # With a seed of its own the layer holds its random state, where checkpoints find it: without one,
        # Keras draws from PyTorch's global generator. The seed follows keras.utils.set_random_seed.
        x = layers.Dropout(dropout, seed=random.randrange(2**31), name="dropout")(x)
    return classify(x, classes=classes, activation=activation)


def classify(x, *, classes: int, activation: str | None):
    """The classifier and its activation: (N, C) to (N, classes)."""
    x = layers.Dense(classes, name="classifier")(x)
    # float32 whatever the policy: a half-precision softmax loses the small probabilities.
    return layers.Activation(activation or "linear", dtype="float32", name="predictions")(x)

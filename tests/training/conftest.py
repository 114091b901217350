"""A run small enough for a test: real digits, a network of three blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from senet.training.config import TrainConfig, make_config

TINY = {
    "model": "se_resnet_20_cifar",
    "model_options": {"blocks": [1, 1, 1], "dropout": 0.1},
    "data": {"source": "digits", "validation": 100, "train_limit": 256},
    "epochs": 2,
    "batch": 64,
    "optimizer": {"lr": 0.1, "weight_decay": 5e-4},
    "schedule": {"name": "one_cycle"},
}


@pytest.fixture
def tiny() -> Callable[..., TrainConfig]:
    """`tiny(epochs=3)` is the small config with other top-level fields."""

    def make(**fields: object) -> TrainConfig:
        return make_config({**TINY, **fields})

    return make

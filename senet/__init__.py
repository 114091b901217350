"""Squeeze-and-Excitation networks for Keras 3."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# Before TensorFlow is imported: it turns oneDNN on by itself for some processors only, and without it has no
# native gradients of grouped convolutions on a CPU (senet.layers.grouped_conv).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from senet import layers as layers
from senet.complexity import Complexity as Complexity
from senet.complexity import complexity as complexity
from senet.deploy.optimize import optimize_for_inference as optimize_for_inference
from senet.keras_fn.se_inception import SE_BN_Inception as SE_BN_Inception
from senet.keras_fn.se_resnet import SE_ResNet_18 as SE_ResNet_18
from senet.keras_fn.se_resnet import SE_ResNet_34 as SE_ResNet_34
from senet.keras_fn.se_resnet import SE_ResNet_50 as SE_ResNet_50
from senet.keras_fn.se_resnet import SE_ResNet_101 as SE_ResNet_101
from senet.keras_fn.se_resnet import SE_ResNet_152 as SE_ResNet_152
from senet.keras_fn.se_resnext import SE_ResNeXt_50 as SE_ResNeXt_50
from senet.keras_fn.se_resnext import SE_ResNeXt_101 as SE_ResNeXt_101
from senet.keras_fn.senet import SENet_154 as SENet_154
from senet.layers import SESpec as SESpec
from senet.predict import predict as predict
from senet.zoo import create_model as create_model
from senet.zoo import from_checkpoint as from_checkpoint
from senet.zoo import list_models as list_models
from senet.zoo import to_checkpoint as to_checkpoint

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import keras

    from senet.deploy.export import ExportReport
    from senet.training.config import TrainConfig
    from senet.training.fit import RunResult

__version__ = "0.1.0"


def train(
    config: TrainConfig,
    run_dir: str | Path | None = None,
    *,
    devices: str | int = "one",
    progress: bool = True,
    wandb: str | None = None,
) -> RunResult:
    """Train, evaluate once on the test data, leave all in `run_dir`; see `senet.training.fit.train`."""
    # Here, so that building a network does not import what training needs.
    from senet.training.fit import train as run

    return run(config, run_dir, devices=devices, progress=progress, wandb=wandb)


def export(model: keras.Model, path: str | Path, format: str | None = None, **options: Any) -> ExportReport:
    """Write a network for another runtime and prove it there; the options: `senet.deploy.export.export`."""
    from senet.deploy.export import export as write

    return write(model, path, format, **options)

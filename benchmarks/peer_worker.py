"""A process that holds and times somebody else's network: timm's, or one of plain Keras layers.

    PYTHON benchmarks/peer_worker.py THREADS FOLDER

It is asked by benchmarks/peers.py, as senet/bench/protocol.py says; exported files lie in FOLDER. It imports
nothing of senet: the protocol is loaded by its path, so that PYTHON may be any environment.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import Any

PROTOCOL = Path(__file__).resolve().parents[1] / "senet" / "bench" / "protocol.py"
PACKAGES = ("torch", "timm", "keras", "onnx", "onnxruntime", "openvino", "numpy")
IMAGE_SIZE = 224


def load_protocol() -> Any:
    spec = importlib.util.spec_from_file_location("protocol", PROTOCOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def timm_model(name: str, size: int, **options: Any) -> Any:
    """A network with random weights and BatchNorm statistics of a batch of noise."""
    import timm
    import torch

    torch.manual_seed(0)
    model = timm.create_model(name, **options).train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    momentums = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # PyTorch's is the share of the new
    with torch.no_grad():
        model(torch.randn(4, 3, size, size))
    for norm, momentum in zip(norms, momentums, strict=True):
        norm.momentum = momentum
    return model


def timm_inference(question: dict[str, Any], channels_last: bool, compiled: bool) -> Any:
    import torch

    model, x = timm_model(question["model"], question["size"]).eval(), torch_images(question)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    run = torch.compile(model) if compiled else model

    def step() -> Any:
        with torch.inference_mode():
            return run(x).numpy()

    return step


def timm_training(question: dict[str, Any], channels_last: bool) -> Any:
    """A step of SGD with momentum and weight decay."""
    import torch

    model, x = timm_model(question["model"], question["size"]).train(), torch_images(question)
    labels = torch.randint(0, 1000, (question["batch"],))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_images(question: dict[str, Any]) -> Any:
    import torch

    torch.manual_seed(1)
    return torch.randn(question["batch"], 3, question["size"], question["size"])


def onnx_file(question: dict[str, Any]) -> Path:
    return Path(sys.argv[2]) / f"{question['model']}-{question['batch']}.onnx"


def export_timm(question: dict[str, Any]) -> dict[str, Any]:
    """Write timm's own export of a network, by PyTorch's present exporter; one file for both runtimes."""
    from timm.utils.onnx import onnx_export

    question = {**question, "size": question["image_size"] or IMAGE_SIZE}
    model = timm_model(question["model"], question["size"], exportable=True)
    size = {"batch_size": question["batch"], "input_size": input_size(question)}
    onnx_export(model, str(onnx_file(question)), use_dynamo=True, **size)
    return {}


def input_size(question: dict[str, Any]) -> tuple[int, int, int]:
    return 3, question["size"], question["size"]


def onnxruntime_step(question: dict[str, Any], threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(onnx_file(question)), options, providers=["CPUExecutionProvider"]
    )
    feed = {session.get_inputs()[0].name: numpy_images(question)}
    return lambda: session.run(None, feed)[0]


def openvino_step(question: dict[str, Any], threads: int) -> Any:
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx_file(question))
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    # float32 on processors with half-precision units too: precision is what is compared at.
    compiled = core.compile_model(model, "CPU", {**settings, "INFERENCE_PRECISION_HINT": "f32"})
    x = numpy_images(question)
    return lambda: compiled(x)[0]


def numpy_images(question: dict[str, Any]) -> Any:
    import numpy as np

    shape = (question["batch"], *input_size(question))
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def plain_keras_training(question: dict[str, Any]) -> Any:
    """SE-ResNet-20 written with Keras' layers alone, a step of Keras' SGD, on the engine of KERAS_BACKEND."""
    import keras
    import numpy as np

    model = plain_se_resnet_20()
    model.compile(
        keras.optimizers.SGD(1e-6, momentum=0.9, weight_decay=1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x = np.random.default_rng(0).standard_normal((question["batch"], 32, 32, 3), np.float32)
    y = np.random.default_rng(1).integers(0, 10, question["batch"])
    return lambda: model.train_on_batch(x, y)


def plain_se_resnet_20() -> Any:
    """The CIFAR network of He et al. with an SE block in each of its nine blocks, ratio 16: logits."""
    from keras import Model, layers

    def conv(x: Any, width: int, stride: int) -> Any:
        x = layers.Conv2D(width, 3, stride, "same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    inputs = layers.Input((32, 32, 3))
    x = layers.Activation("relu")(conv(inputs, 16, 1))
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage and not block else 1
            branch = layers.Activation("relu")(conv(x, width, stride))
            branch = conv(branch, width, 1)
            gate = layers.GlobalAveragePooling2D(keepdims=True)(branch)
            gate = layers.Dense(width // 16, activation="relu")(gate)
            gate = layers.Dense(width, activation="sigmoid")(gate)
            branch = layers.Multiply()([branch, gate])
            if stride == 2:
                x = layers.Conv2D(width, 1, 2, use_bias=False)(x)
                x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
            x = layers.Activation("relu")(layers.Add()([x, branch]))
    return Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def open_peer(question: dict[str, Any], threads: int) -> Any:
    """The function that is one step of the subject in `question`."""
    runtime = question["runtime"]
    question = {**question, "size": question["image_size"] or 224}
    if runtime == "onnxruntime":
        return onnxruntime_step(question, threads)
    if runtime == "openvino":
        return openvino_step(question, threads)
    if question["engine"] == "tensorflow":
        set_tensorflow_threads(threads)
    else:
        set_torch_threads(threads)
    if runtime == "keras":
        return plain_keras_training(question)
    channels_last = "channels last" in runtime
    if question["task"] == "train":
        return timm_training(question, channels_last)
    return timm_inference(question, channels_last, "compiled" in runtime)


def set_torch_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def set_tensorflow_threads(threads: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def versions() -> dict[str, str]:
    """Versions of what is installed for this process."""
    found = {each.metadata["Name"].lower(): each.version for each in importlib.metadata.distributions()}
    return {package: found[package] for package in PACKAGES if package in found}


if __name__ == "__main__":
    protocol, most = load_protocol(), int(sys.argv[1])
    protocol.limit_threads(most)
    protocol.serve(
        lambda question: open_peer(question, most), make=export_timm, facts={"versions": versions()}
    )

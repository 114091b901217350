"""`python -m senet.bench.measure THREADS`: the process that holds and times one of our subjects.

See `senet.bench.protocol` for what it is asked. The engine is the one of KERAS_BACKEND.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from senet.bench.protocol import Run, limit_threads, resident_peak_mib, serve
from senet.bench.subjects import Subject

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
# runtime: the format of its files, and their suffix
FORMATS = {
    "onnxruntime": ("onnx", ".onnx"),
    "openvino": ("openvino", ".xml"),
    "litert": ("litert", ".tflite"),
}


def subject_of(question: dict[str, Any]) -> Subject:
    return Subject(**{field.name: question[field.name] for field in dataclasses.fields(Subject)})


def file_of(subject: Subject, folder: Path) -> Path:
    """Where the file of a subject lies: a Keras model of any batch, or an exported one of a fixed batch."""
    stem = f"{subject.model}-{subject.precision}-{subject.variant}"
    if subject.runtime == "keras":
        return folder / f"{stem}.keras"
    return folder / f"{stem}-{subject.batch}{FORMATS[subject.runtime][1]}"


def images(batch: int, shape: tuple[int, ...], seed: int = 0) -> Any:
    """Normal noise, (batch, H, W, C) float32: what normalised images are on average."""
    import numpy as np

    return np.random.default_rng(seed).standard_normal((batch, *shape), np.float32)


# ---- files ----


class Maker:
    """Makes the files that subjects run; a network is built once for all of its files."""

    def __init__(self) -> None:
        self.networks: dict[tuple[str, str], Any] = {}

    def make(self, question: dict[str, Any]) -> dict[str, Any]:
        """The file of a subject in a folder; its image shape and multiply-adds."""
        from senet.complexity import complexity
        from senet.deploy.optimize import optimize_for_inference

        subject, folder = subject_of(question), Path(question["folder"])
        size = question["image_size"]
        model = self.network(subject, size)
        path = file_of(subject, folder)
        if not path.exists():
            variant = optimize_for_inference(model) if subject.variant == "optimized" else model
            write(variant, subject, path, question.get("calibration"))
        return {
            "image_shape": list(model.input_shape[1:]),
            "multiply_adds": complexity(model).multiply_adds,
        }

    def network(self, subject: Subject, size: int | None) -> Any:
        # Quantisation and half precision are the exporter's business, which starts from float32.
        policy = POLICIES[subject.precision] if subject.runtime == "keras" else "float32"
        key = (subject.model, policy)
        if key not in self.networks:
            self.networks = {key: build(subject.model, policy, size)}  # one at a time: they are large
        return self.networks[key]


def build(name: str, policy: str, size: int | None, **changes: Any) -> Any:
    """A network with random weights, for images of one size."""
    import keras

    from senet.zoo import create_model, get_spec

    side = size or get_spec(name).image_size
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(0)
    model = create_model(name, input_shape=(side, side, 3), **changes)
    fit_statistics(model, images(4, model.input_shape[1:]))
    return model


def fit_statistics(model: Any, batch: Any) -> None:
    """BatchNorm's statistics of a batch of images, so that activations neither grow nor fade with depth.

    Numbers that are not finite, or too small to be normal, take another time than those of trained networks.
    """
    import keras

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        if norm.name.endswith(("_expand_bn", "_spatial2_bn")):
            # Branches of full strength make rounding grow with depth: 1e-4 of the answer in SENet-154.
            norm.gamma.assign(keras.ops.full(norm.gamma.shape, 0.3))
    momentums = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # the statistics of the next batch, and of no other
    model(batch, training=True)
    for norm, momentum in zip(norms, momentums, strict=True):
        norm.momentum = momentum


def write(model: Any, subject: Subject, path: Path, calibration: str | None) -> None:
    """Save or export a network for its runtime."""
    if subject.runtime == "keras":
        model.save(path)
        return
    from senet.data.preprocess import Preprocess
    from senet.deploy.export import export

    # BatchNorm's statistics are of noise; other images drive such a network to where rounding decides.
    options: dict[str, Any] = {"samples": images(4, model.input_shape[1:])}
    if subject.precision == "int8":
        side = model.input_shape[1]
        options["calibration"] = calibration or images(32, model.input_shape[1:], seed=1)
        options["preprocess"] = Preprocess.timm(size=side)
        # Near answers of random weights change places easily, and speed is all that is asked of the file.
        options["min_agreement"] = 0.0
    export(
        model,
        path,
        format=FORMATS[subject.runtime][0],
        precision=subject.precision,
        batch=subject.batch,
        optimize=False,  # the variant says whether it is
        **options,
    )


# ---- steps ----


def open_subject(question: dict[str, Any], threads: int) -> Run:
    """The function that is one step of a subject: it returns when the answer lies in main memory."""
    subject = subject_of(question)
    if subject.runtime == "matmul":
        return matmul_step(subject)
    if subject.task == "train":
        return training_step(subject, question["image_size"])
    path, shape = file_of(subject, Path(question["folder"])), tuple(question["image_shape"])
    x = images(subject.batch, shape)
    if subject.runtime == "keras":
        return keras_step(path, x)
    from senet.deploy.runtimes import open_runtime

    predictor = open_runtime(path, subject.runtime, threads=threads)
    return lambda: predictor.predict(x)


def keras_step(path: Path, x: Any) -> Run:
    import keras

    import senet.layers.fused  # registers what optimised networks hold

    assert senet.layers.fused
    model = keras.saving.load_model(path, compile=False)
    on_device = keras.ops.convert_to_tensor(x)
    return lambda: model.predict_on_batch(on_device)


def training_step(subject: Subject, size: int | None) -> Run:
    """A step as the recipes train: forward, backward, update; the loss is the cross-entropy."""
    import keras
    import numpy as np

    from senet.training import environment
    from senet.training.config import load_config
    from senet.training.optim import Crossentropy, make_optimizer

    model = build(subject.model, POLICIES[subject.precision], size, classifier_activation=None)
    # The rate moves nothing, so that random labels cannot make numbers overflow in a long comparison.
    config = load_config(recipe_of(subject.model), ["optimizer.lr=1.0e-6"])
    optimizer = make_optimizer(
        config.optimizer, config.schedule, steps=10**6, epochs=config.epochs, batch=subject.batch
    )
    jit = environment.jit_compile() if subject.jit is None else subject.jit
    model.compile(optimizer, Crossentropy(), jit_compile=jit)
    x = keras.ops.convert_to_tensor(images(subject.batch, model.input_shape[1:]))
    labels = np.random.default_rng(1).integers(0, model.output_shape[-1], subject.batch)
    y = keras.ops.convert_to_tensor(labels.astype(np.int32))
    return lambda: model.train_on_batch(x, y)


def recipe_of(model: str) -> str:
    """The paper's recipe for a network: SGD with momentum in both."""
    return "cifar_paper" if model.endswith("_cifar") else "imagenet_paper_2018"


def matmul_step(subject: Subject) -> Run:
    """The product of two square matrices with sides of `batch`."""
    import numpy as np

    a = np.random.default_rng(0).standard_normal((subject.batch, subject.batch), np.float32)
    if subject.engine == "numpy":
        out = np.empty_like(a)
        return lambda: np.matmul(a, a, out=out)
    import keras

    left = keras.ops.cast(keras.ops.convert_to_tensor(a), subject.precision)
    # A single number is fetched: the whole product would be a test of the bus.
    return lambda: float(keras.ops.matmul(left, left)[0, 0])


def set_engine_threads(threads: int) -> None:
    """Tell Keras' engine how many threads it may use, before it begins."""
    import keras

    engine = keras.backend.backend()
    if engine == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    elif engine == "torch":
        import torch

        torch.set_num_threads(threads)


def main(threads: int) -> None:
    """Serve: `task` "make" makes files, everything else is timed."""
    limit_threads(threads)
    maker = Maker()

    def opened(question: dict[str, Any]) -> Run:
        if question["runtime"] in ("keras",) or question["task"] != "infer":
            set_engine_threads(threads)
        return open_subject(question, threads)

    serve(opened, make=maker.make, peak_mib=peak_mib)


def peak_mib() -> float:
    """The highest memory: of the accelerator, where Keras has been loaded and sees one."""
    if "keras" in sys.modules:
        from senet.training import environment

        if environment.engine() != "numpy" and environment.accelerators():
            return environment.peak_memory_mib()
    return resident_peak_mib()


if __name__ == "__main__":
    main(int(sys.argv[1]))

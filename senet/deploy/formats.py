"""One writer a file format. Each leaves a whole file with its metadata, and returns its hash."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from senet.deploy import metadata as marks
from senet.deploy.extras import need
from senet.deploy.metadata import Metadata
from senet.deploy.onnx_writer import write_onnx
from senet.deploy.quantize import end_layers, gate_layers, quantize_onnx

if TYPE_CHECKING:
    from senet.data.preprocess import Preprocess

ENDPOINT = "serve"  # also the name that Keras gives


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A model to write. `calibration` are images as the file will take them, (N, H, W, C) float32."""

    model: keras.Model
    metadata: Metadata
    baked: Preprocess | None = None
    calibration: np.ndarray | None = None


def onnx_of(job: Job) -> Any:
    """The ONNX model of a job, without metadata."""
    precision, shape = job.metadata.precision, job.metadata.input_shape
    if precision != "int8":
        return write_onnx(job.model, shape, baked=job.baked, half=precision == "float16")[0]
    assert job.calibration is not None
    # Calibration takes groups of images, whatever the batch of the file.
    written, gates = write_onnx(job.model, (None, *shape[1:]), baked=job.baked)
    return quantize_onnx(written, job.calibration, exclude=[*gates, *end_layers(job.model)], batch=shape[0])


def write_onnx_file(job: Job, path: Path) -> str:
    need("onnx")
    from onnx import helper

    written = onnx_of(job)
    properties = {marks.ONNX_KEY: job.metadata.to_json(), "senet_sha256": marks.EMPTY}
    helper.set_model_props(written, properties)
    path.write_bytes(written.SerializeToString(deterministic=True))
    return marks.seal([path])


def write_openvino(job: Job, path: Path) -> str:
    openvino = need("openvino")
    # Half precision is OpenVINO's own affair; from 8 bits it makes its own form of the ONNX file's.
    half = job.metadata.precision == "float16"
    plain = dataclasses.replace(job.metadata, precision="float32") if half else job.metadata
    source = onnx_of(dataclasses.replace(job, metadata=plain))
    with tempfile.TemporaryDirectory() as folder:
        onnx_file = Path(folder, "model.onnx")
        onnx_file.write_bytes(source.SerializeToString())
        model = openvino.convert_model(onnx_file)
        model.set_rt_info(job.metadata.to_json(), [marks.OPENVINO_KEY, "metadata"])
        model.set_rt_info(marks.EMPTY, [marks.OPENVINO_KEY, "sha256"])
        openvino.save_model(model, path, compress_to_fp16=half)
    return marks.seal([path, path.with_suffix(".bin")])


def write_saved_model(job: Job, path: Path) -> str:
    save_model_folder(job, path)
    return marks.write_saved_model(path, job.metadata)


def save_model_folder(job: Job, path: Path) -> None:
    """A SavedModel whose one endpoint takes "image" and gives a dict of outputs."""
    tf = tensorflow_engine()
    names, baked = job.metadata.outputs, job.baked

    def serve(image):
        if baked is not None:
            image = (image - np.array(baked.mean, np.float32)) / np.array(baked.std, np.float32)
        outputs = keras.tree.flatten(job.model(image, training=False))
        return {name: keras.ops.cast(output, "float32") for name, output in zip(names, outputs, strict=True)}

    # Not by keras.export.ExportArchive, which writes every weight twice.
    module = tf.Module()
    module.weights = [variable.value for variable in job.model.variables]
    image = tf.TensorSpec(job.metadata.input_shape, tf.float32, name="image")
    module.serve = tf.function(serve, input_signature=[image])
    tf.saved_model.save(module, str(path), signatures={ENDPOINT: module.serve})


def tensorflow_engine() -> Any:
    """TensorFlow; ValueError where it is not the engine of this process."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "SavedModel and LiteRT files come from TensorFlow. Received: the engine "
            f"{keras.backend.backend()!r}. Save the model as .keras, and export that file in a process with "
            "KERAS_BACKEND=tensorflow."
        )
    return need("tensorflow")


def write_litert(job: Job, path: Path) -> str:
    tf = tensorflow_engine()
    need("ai_edge_litert.interpreter")
    with tempfile.TemporaryDirectory() as folder:
        save_model_folder(job, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[ENDPOINT])
        if job.metadata.precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if job.metadata.precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        with warnings.catch_warnings():
            # The converter calibrates with an interpreter of its own, which warns that it will go.
            warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
            if job.metadata.precision == "int8":
                converter.representative_dataset = lambda: representative(job)
                path.write_bytes(quantize_litert(converter, job))
            else:
                path.write_bytes(converter.convert())
    return marks.append_litert(path, job.metadata)


def quantize_litert(converter: Any, job: Job) -> bytes:
    """The converter's model in 8 bits, without the layers that `senet.deploy.quantize` keeps in float32."""
    tf = need("tensorflow")
    # The debugger is the one way to tell the converter what to leave alone.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=lambda: (feed for _, feed in representative(job)),
        debug_options=tf.lite.experimental.QuantizationDebugOptions(),
    )
    kept = "|".join(map(re.escape, [*gate_layers(job.model), *end_layers(job.model)]))
    inside = re.compile(rf"(^|/)({kept})(_\d+)?(/|;|$)")
    interpreter = tf.lite.Interpreter(model_content=debugger.calibrated_model)
    # An operation goes by the name of what it makes; the last one by the output's.
    ends = {detail["name"] for detail in interpreter.get_output_details()}
    names = {detail["name"] for detail in interpreter.get_tensor_details()}
    debugger.options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_nodes=sorted(name for name in names if name in ends or (kept and inside.search(name)))
    )
    return debugger.get_nondebug_quantized_model()


def representative(job: Job) -> Iterator[Any]:
    """The calibration images in steps of the file's batch, as the converter wants them."""
    assert job.calibration is not None
    batch = job.metadata.input_shape[0] or 1
    for start in range(0, len(job.calibration) - batch + 1, batch):
        yield ENDPOINT, {"image": job.calibration[start : start + batch]}


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format: how it is written, the suffix it must have, the runtime it is checked in."""

    write: Callable[[Job, Path], str]
    suffix: str
    runtime: str
    precisions: tuple[str, ...] = ("float32", "float16", "int8")


FORMATS = {
    "onnx": Format(write_onnx_file, ".onnx", "onnxruntime"),
    "openvino": Format(write_openvino, ".xml", "openvino"),
    "litert": Format(write_litert, ".tflite", "litert"),
    "tf_saved_model": Format(write_saved_model, "", "tensorflow", ("float32",)),
}

"""Exported files, and Keras models, behind one way of asking them: `open_runtime(path).predict(images)`."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from senet.deploy import metadata as marks
from senet.deploy.extras import need
from senet.deploy.metadata import Metadata
from senet.errors import did_you_mean
from senet.machine import cores

if TYPE_CHECKING:
    import keras

    from senet.data.preprocess import Preprocess

Answer = np.ndarray | dict[str, np.ndarray]


class Predictor:
    """A network in its runtime. Make one by `open_runtime`.

    `metadata` is what the file says about itself, `sha256` the hash of its content (None for a Keras model),
    `runtime` the runtime's name. With `preprocess`, `labels` and `answers` it can be given to
    `senet.predict` in place of a Keras model.
    """

    runtime: ClassVar[str]
    package: ClassVar[str]

    def __init__(self, metadata: Metadata, sha256: str | None) -> None:
        self.metadata, self.sha256 = metadata, sha256

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """The outputs of one call of the runtime, in the order of `metadata.outputs`."""
        raise NotImplementedError

    def predict(self, images: np.ndarray) -> Answer:
        """The answer to images (N, H, W, C), float32, normalised unless that is baked in: (N, classes).

        Of a network with several outputs, a dict of arrays by name. A file of a fixed batch is asked as
        often as needed, the last time filled up. ValueError for images of a size that it does not take.
        """
        images = np.ascontiguousarray(images, np.float32)
        self._check(images)
        batch = self.metadata.input_shape[0] or len(images)
        parts = []
        for start in range(0, len(images), batch):
            some = images[start : start + batch]
            filled = np.concatenate([some, np.repeat(some[-1:], batch - len(some), axis=0)])
            parts.append([output[: len(some)] for output in self._run(filled)])
        outputs = [np.concatenate(rows) for rows in zip(*parts, strict=True)]
        if len(outputs) == 1:
            return outputs[0]
        return dict(zip(self.metadata.outputs, outputs, strict=True))

    predict_on_batch = predict

    def _check(self, images: np.ndarray) -> None:
        wanted = self.metadata.input_shape
        if images.ndim != 4 or not images.size:
            raise ValueError(
                f"Images must be (N, H, W, C), at least one. Received: an array of shape {images.shape}."
            )
        if any(own not in (None, size) for own, size in zip(wanted[1:], images.shape[1:], strict=True)):
            raise ValueError(
                f"{self.name} was exported for images of shape {wanted[1:]}. Received: {images.shape[1:]}. "
                "Resize the images, or export it for this size: image_size=..."
            )

    def _run(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            return self.run(images)
        except Exception as error:  # each runtime has errors of its own
            raise ValueError(
                f"{self.runtime} refuses images of shape {images.shape[1:]} for {self.name}: "
                f"{str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}. "
                "Likely fix: export it for one size and batch: image_size=..., batch=..."
            ) from error

    @property
    def name(self) -> str:
        return self.metadata.model

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return self.metadata.input_shape

    @property
    def output_shape(self) -> Any:
        """Of the only output; of several, a list, as Keras has it."""
        shapes = self.metadata.output_shapes
        return shapes[0] if len(shapes) == 1 else list(shapes)

    @property
    def answers(self) -> str:
        return self.metadata.answers

    @property
    def labels(self) -> tuple[str, ...] | None:
        return self.metadata.labels

    @property
    def preprocess(self) -> Preprocess | None:
        """What makes this network's input from an image; where normalisation is baked in, only the cut."""
        from senet.data.preprocess import Preprocess

        if self.metadata.preprocess is None:
            return None
        found = Preprocess(**self.metadata.preprocess)
        if not self.metadata.baked:
            return found
        channels = len(found.mean)
        return dataclasses.replace(found, mean=(0.0,) * channels, std=(1.0,) * channels)


class KerasPredictor(Predictor):
    """A Keras model, in memory or in a .keras file."""

    runtime, package = "keras", "keras"

    def __init__(self, model: keras.Model, threads: int | None = None) -> None:
        from senet.deploy.describe import describe

        refuse_threads(self.runtime, threads)
        self.model = model
        super().__init__(describe(model), None)

    @classmethod
    def open(cls, path: Path, threads: int | None) -> KerasPredictor:
        import keras

        import senet.layers.fused  # registers what optimised models hold

        assert senet.layers.fused
        if path.suffix != ".keras":
            raise wrong_kind(cls.runtime, path, "a .keras file")
        return cls(keras.saving.load_model(path, compile=False), threads)

    def run(self, images):
        import keras

        outputs = keras.tree.flatten(self.model.predict_on_batch(images))
        return [np.asarray(output, np.float32) for output in outputs]


class OnnxRuntimePredictor(Predictor):
    runtime, package = "onnxruntime", "onnxruntime"

    # The key, and the tag and length that Protocol Buffers put before its value.
    HASH: ClassVar = re.compile(rb"senet_sha256\x12\x40([0-9a-f]{64})")

    @classmethod
    def open(cls, path: Path, threads: int | None) -> OnnxRuntimePredictor:
        engine = need("onnxruntime")
        if path.suffix != ".onnx":
            raise wrong_kind(cls.runtime, path, "an .onnx file")
        content = path.read_bytes()
        found = cls.HASH.search(content)
        if not found:
            raise marks.foreign(path)
        digest = found[1].decode()
        if not marks.check_seal(content, [], digest):
            raise marks.changed(path)
        options = engine.SessionOptions()
        options.log_severity_level = 3  # warnings of the optimiser tell a user nothing
        options.intra_op_num_threads = threads or 0
        session = engine.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        metadata = Metadata.from_json(session.get_modelmeta().custom_metadata_map[marks.ONNX_KEY])
        predictor = cls(metadata, digest)
        predictor.session = session
        return predictor

    session: Any

    def run(self, images):
        return self.session.run(list(self.metadata.outputs), {self.session.get_inputs()[0].name: images})


class OpenVinoPredictor(Predictor):
    runtime, package = "openvino", "openvino"
    compiled: Any

    @classmethod
    def open(cls, path: Path, threads: int | None) -> OpenVinoPredictor:
        engine = need("openvino")
        weights = path.with_suffix(".bin")
        if path.suffix != ".xml" or not weights.is_file():
            raise wrong_kind(cls.runtime, path, "an .xml file with its .bin beside it")
        content = path.read_bytes()
        found = re.search(rb'<sha256 value="([0-9a-f]{64})"', content)
        if not found:
            raise marks.foreign(path)
        digest = found[1].decode()
        if not marks.check_seal(content, [weights], digest):
            raise marks.changed(path)
        model = engine.Core().read_model(path)
        text = model.get_rt_info([marks.OPENVINO_KEY, "metadata"]).astype(str)
        predictor = cls(Metadata.from_json(text), digest)
        # By itself OpenVINO computes in bfloat16 where the processor can, and loses three digits.
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        predictor.compiled = engine.compile_model(model, "CPU", options)
        return predictor

    def run(self, images):
        found = self.compiled(images)
        return [np.array(found[index]) for index in range(len(self.metadata.outputs))]


class LiteRtPredictor(Predictor):
    runtime, package = "litert", "ai-edge-litert"
    runner: Any
    image: str

    @classmethod
    def open(cls, path: Path, threads: int | None) -> LiteRtPredictor:
        engine = need("ai_edge_litert.interpreter")
        if path.suffix != ".tflite":
            raise wrong_kind(cls.runtime, path, "a .tflite file")
        metadata, digest = marks.read_litert(path)
        predictor = cls(metadata, digest)
        # Left to itself it takes one thread, where the other runtimes take all cores.
        interpreter = engine.Interpreter(model_path=str(path), num_threads=threads or cores())
        predictor.runner = interpreter.get_signature_runner("serve")
        predictor.image = next(iter(predictor.runner.get_input_details()))
        return predictor

    def run(self, images):
        found = self.runner(**{self.image: images})
        return [found[name] for name in self.metadata.outputs]


class SavedModelPredictor(Predictor):
    runtime, package = "tensorflow", "tensorflow"
    serve: Any

    @classmethod
    def open(cls, path: Path, threads: int | None) -> SavedModelPredictor:
        engine = need("tensorflow")
        refuse_threads(cls.runtime, threads)
        if not (path / "saved_model.pb").is_file():
            raise wrong_kind(cls.runtime, path, "a SavedModel folder")
        metadata, digest = marks.read_saved_model(path)
        predictor = cls(metadata, digest)
        predictor.serve = engine.saved_model.load(str(path))
        return predictor

    def run(self, images):
        found = self.serve.serve(images)
        return [found[name].numpy() for name in self.metadata.outputs]


RUNTIMES: dict[str, Any] = {
    kind.runtime: kind
    for kind in (
        KerasPredictor,
        OnnxRuntimePredictor,
        OpenVinoPredictor,
        LiteRtPredictor,
        SavedModelPredictor,
    )
}
SUFFIXES = {
    ".keras": "keras",
    ".onnx": "onnxruntime",
    ".xml": "openvino",
    ".tflite": "litert",
    "": "tensorflow",
}


def open_runtime(
    model: str | Path | keras.Model, runtime: str | None = None, *, threads: int | None = None
) -> Predictor:
    """Open an exported file in its runtime, its content verified.

    Args:
        model: a file or folder that `senet.export` wrote, a .keras file, or a Keras model.
        runtime: "onnxruntime" (.onnx), "openvino" (.xml with .bin), "litert" (.tflite), "tensorflow"
            (SavedModel) or "keras"; by default the one that the path's suffix asks for.
        threads: of the runtime, by default one a core; Keras and TensorFlow cannot be told here.

    Raises ValueError for a file of another kind, one that was changed since its export (its hash is in its
    metadata) or that another program wrote, ImportError with the extra for a runtime that is not installed.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ValueError(
            f"`threads` must be None or an integer of at least 1. Received: threads={threads!r}."
        )
    if runtime is None:
        path = Path(model) if isinstance(model, (str, Path)) else None
        runtime = (
            "keras" if path is None else SUFFIXES.get(path.suffix, "tensorflow" if path.is_dir() else "")
        )
    if runtime not in RUNTIMES:
        raise ValueError(
            f"`runtime` must be one of {', '.join(map(repr, RUNTIMES))}. Received: runtime={runtime!r} for "
            f"{model}.{did_you_mean(runtime, RUNTIMES)}"
        )
    if not isinstance(model, (str, Path)):
        if runtime != "keras":
            raise ValueError(f"{runtime} runs files: export the model first, with senet.export.")
        return KerasPredictor(model, threads)
    path = Path(model)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    return RUNTIMES[runtime].open(path, threads)


def wrong_kind(runtime: str, path: Path, wanted: str) -> ValueError:
    other = SUFFIXES.get(path.suffix)
    fix = f" Likely fix: runtime={other!r}." if other and other != runtime else ""
    return ValueError(f"{runtime} opens {wanted}. Received: {path}.{fix}")


def refuse_threads(runtime: str, threads: int | None) -> None:
    if threads is not None:
        raise ValueError(
            f"`threads` cannot be set for {runtime}, whose threads are the process's. Received: "
            f"threads={threads}. Leave it out."
        )

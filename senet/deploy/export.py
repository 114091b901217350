"""A trained network as a file of another runtime, checked there: `senet.export`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from senet.deploy.compare import Comparison, Latency, compare, measure_latency
from senet.deploy.describe import check_functional, describe
from senet.deploy.formats import FORMATS, Job, tensorflow_engine
from senet.deploy.metadata import SAVED_MODEL_PLACE, Metadata
from senet.deploy.pictures import Pictures, calibration_images, sample_images
from senet.deploy.runtimes import open_runtime
from senet.errors import did_you_mean
from senet.files import write_json

if TYPE_CHECKING:
    from senet.data.preprocess import ImageLike, Preprocess

PRECISIONS = ("float32", "float16", "int8")


class Disagreement(ValueError):
    """An exported file that answers otherwise than its model."""


@dataclasses.dataclass(frozen=True)
class Limit:
    """What a file may differ by: the relative difference, and the least agreement of the likeliest class."""

    relative: float | None
    agreement: float


# In half precision a weight has 11 bits; 8 bits change the numbers, and are judged by the classes alone.
LIMITS = {"float32": Limit(1e-4, 0.0), "float16": Limit(2e-2, 0.0), "int8": Limit(None, 0.9)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written, and how it answers beside the Keras model.

    Differences are over all numbers of all outputs: the largest, and the largest over the Keras model's
    largest number. Agreement is the share of images with the same likeliest class, None without classes.
    """

    path: str
    format: str
    precision: str
    model: str
    optimized: bool
    baked: bool
    input_shape: tuple[int | None, ...]
    samples: int
    samples_from: str
    max_difference: float
    relative_difference: float
    top1_agreement: float | None
    size_bytes: int
    sha256: str
    runtime: str
    versions: dict[str, str]
    latency: Latency

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)


@dataclasses.dataclass(frozen=True)
class Wishes:
    """The options of `export`, which says what each means."""

    precision: str
    calibration: Any
    batch: int | None
    image_size: int | tuple[int, int] | None
    preprocess: Preprocess | None
    bake_preprocess: bool
    labels: Sequence[str] | None
    samples: Any
    optimize: bool
    min_agreement: float | None

    @property
    def limit(self) -> Limit:
        usual = LIMITS[self.precision]
        if self.min_agreement is None:
            return usual
        return dataclasses.replace(usual, agreement=self.min_agreement)

    @property
    def baked(self) -> Preprocess | None:
        return self.preprocess if self.bake_preprocess else None


def export(
    model: keras.Model,
    path: str | Path,
    format: str | None = None,
    *,
    precision: str = "float32",
    calibration: ImageLike | Sequence[ImageLike] | None = None,
    batch: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    preprocess: Preprocess | None = None,
    bake_preprocess: bool = False,
    labels: Sequence[str] | None = None,
    samples: ImageLike | Sequence[ImageLike] | None = None,
    optimize: bool = True,
    min_agreement: float | None = None,
) -> ExportReport:
    """Write a network for another runtime, run it there on images, and compare it with the Keras model.

    Args:
        model: functional, one input (N, H, W, C). It stays as it is.
        path: *.onnx, *.xml (and *.bin beside it), *.tflite, or a folder.
        format: "onnx", "openvino", "litert" or "tf_saved_model"; by default what the path's suffix says. The
            last two come from TensorFlow, which must be the engine.
        precision: "float32"; "float16": weights in half precision, half the size, computed in float32;
            "int8": weights and activations in 8 bits, the gates of SE blocks in float32. A SavedModel is
            float32.
        calibration: for int8, images like those the network will see, some 100 or more: paths, folders,
            images of Pillow's, uint8 arrays (H, W, C); or one float32 array (N, H, W, C), normalised already.
        batch: number of images a call; None: any.
        image_size: side, or (H, W); None: what the model has, any where that is open.
        preprocess: from an image to the network's input, for the metadata too; default `model.preprocess`.
        bake_preprocess: the file takes pixels, 0 to 255, and normalises them itself.
        labels: name of each class, for the metadata; by default those of `senet.predict`.
        samples: images to compare on, as for `calibration`; default the calibration images, else generated
            ones, which the report says.
        optimize: export what `senet.optimize_for_inference` makes of the model.
        min_agreement: least share of samples with the same likeliest class; default 0.9 for int8, else 0.

    The report is saved beside the file (PATH.json; in a folder assets.extra/report.json). Raises ValueError
    for what does not fit, and Disagreement, a ValueError, for a file that answers otherwise than the model:
    by a relative difference of more than 1e-4 (float32), 2e-2 (float16), or too low an agreement. Then no
    file is left, and one that was there before stays. ImportError names the extra of a runtime that is not
    installed.
    """
    preprocess = preprocess or getattr(model, "preprocess", None)
    wishes = Wishes(
        *(precision, calibration, batch, image_size, preprocess, bake_preprocess),
        *(labels, samples, optimize, min_agreement),
    )
    return write_checked(model, Path(path), format, wishes)


def write_checked(model: keras.Model, path: Path, format: str | None, wishes: Wishes) -> ExportReport:
    """What `export` does."""
    format = resolve_format(path, format)
    check_options(format, wishes.precision, wishes.calibration, wishes.batch)
    check_functional(model)
    metadata = metadata_of(model, wishes)
    pictures = Pictures.of(model, metadata)
    calibrated = None
    if wishes.calibration is not None:
        calibrated = calibration_images(pictures, wishes.calibration, wishes.batch or 1)
    samples_from, compared = sample_images(pictures, wishes.samples, calibrated)
    job = Job(
        model=optimized(model) if wishes.optimize else model,
        metadata=metadata,
        baked=wishes.baked,
        calibration=calibrated if wishes.precision == "int8" else None,
    )
    with aside(path, format) as draft:
        FORMATS[format].write(job, draft)
        predictor = open_runtime(draft, FORMATS[format].runtime)
        found = compare(model, predictor, pictures, compared)
        check_difference(found, wishes.limit, path, samples_from)
        report = ExportReport(
            path=str(path),
            format=format,
            optimized=wishes.optimize,
            **of_file(metadata, predictor, draft),
            **dataclasses.asdict(found),
            samples=len(compared),
            samples_from=samples_from,
            latency=measure_latency(predictor, compared),
        )
        write_report(report, draft)
    return report


def metadata_of(model: keras.Model, wishes: Wishes) -> Metadata:
    """The metadata of the file; ValueError for a shape, labels or a preprocessing that do not fit."""
    if wishes.bake_preprocess and wishes.preprocess is None:
        raise ValueError("`bake_preprocess` needs a `preprocess`, and the model has none. Give one.")
    return describe(
        model,
        input_shape=resolve_shape(model, wishes.batch, wishes.image_size),
        labels=wishes.labels,
        preprocess=wishes.preprocess,
        precision=wishes.precision,
        baked=wishes.bake_preprocess,
    )


def optimized(model: keras.Model) -> keras.Model:
    from senet.deploy.optimize import optimize_for_inference

    return optimize_for_inference(model)


def resolve_format(path: Path, format: str | None) -> str:
    """The format, by name or by the suffix of the path; ValueError where the two disagree."""
    by_suffix = {kind.suffix: name for name, kind in FORMATS.items()}
    if format is None and path.suffix not in by_suffix:
        raise ValueError(
            f"`path` must end in .onnx, .xml (OpenVINO), .tflite (LiteRT) or nothing (SavedModel), or "
            f"`format` must be given. Received: {path}."
        )
    format = format or by_suffix[path.suffix]
    if format not in FORMATS:
        raise ValueError(
            f"`format` must be one of {', '.join(map(repr, FORMATS))}. Received: format={format!r}."
            f"{did_you_mean(format, FORMATS)}"
        )
    wanted = FORMATS[format].suffix
    if wanted and path.suffix != wanted:
        raise ValueError(f"A file of format {format!r} must end in {wanted}. Received: {path}.")
    return format


def check_options(format: str, precision: str, calibration: Any, batch: Any) -> None:
    """Raise ValueError for options that do not go together."""
    if precision not in PRECISIONS:
        raise ValueError(
            f"`precision` must be one of {', '.join(map(repr, PRECISIONS))}. Received: "
            f"precision={precision!r}."
        )
    if format in ("litert", "tf_saved_model"):
        tensorflow_engine()
    if precision not in FORMATS[format].precisions:
        raise ValueError(
            f"A {format} has precision='float32' only. Received: precision={precision!r}. Likely fix: "
            "format='onnx', 'openvino' or 'litert'."
        )
    if precision == "int8" and calibration is None:
        raise ValueError(
            "precision='int8' needs `calibration`: images like those the network will see, some 100 or more."
        )
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise ValueError(f"`batch` must be None or an integer of at least 1. Received: batch={batch!r}.")


def resolve_shape(model: keras.Model, batch: int | None, image_size: Any) -> tuple[int | None, ...]:
    """(N, H, W, C) of the file; ValueError where it is not what a model of a fixed size takes."""
    own = tuple(model.inputs[0].shape)
    sides = own[1:3]
    if image_size is not None:
        sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
        if len(sides) != 2 or not whole:
            raise ValueError(f"`image_size` must be a side or (H, W) in pixels. Received: {image_size!r}.")
    if any(mine not in (None, side) for mine, side in zip(own[1:3], sides, strict=True)):
        raise ValueError(
            f"`image_size` must be what the model was built for, {own[1:3]}. Received: {image_size}. Build "
            "it with input_shape=(None, None, 3) to choose later."
        )
    if own[0] not in (None, batch):
        raise ValueError(f"`batch` must be what the model was built for, {own[0]}. Received: {batch}.")
    return (batch, *sides, own[3])


def check_difference(found: Comparison, limit: Limit, path: Path, samples_from: str) -> None:
    """Raise Disagreement where a file answers otherwise than the model."""
    wrong = []
    if not found.relative_difference < float("inf"):
        wrong.append("its answers are not finite")
    elif limit.relative is not None and found.relative_difference > limit.relative:
        wrong.append(f"relative difference {found.relative_difference:.1e}, more than {limit.relative}")
    if found.top1_agreement is not None and found.top1_agreement < limit.agreement:
        wrong.append(f"top-1 agreement {found.top1_agreement:.1%}, less than {limit.agreement:.1%}")
    if wrong:
        raise Disagreement(
            f"The exported file does not answer as the Keras model on {samples_from}: {'; '.join(wrong)}. "
            f"{path} was not written."
        )


def of_file(metadata: Metadata, predictor: Any, draft: Path) -> dict[str, Any]:
    """What the report says of the file and its runtime."""
    packages = {"senet", "keras", keras.backend.backend(), predictor.package, "numpy"}
    if predictor.runtime in ("onnxruntime", "openvino"):
        packages.add("onnx")
    return {
        "model": metadata.model,
        "precision": metadata.precision,
        "baked": metadata.baked,
        "input_shape": metadata.input_shape,
        "size_bytes": sum(part.stat().st_size for part in parts_of(draft)),
        "sha256": predictor.sha256,
        "runtime": predictor.runtime,
        "versions": {name: importlib.metadata.version(name) for name in sorted(packages)},
    }


def parts_of(path: Path) -> list[Path]:
    """The files of an export: one, OpenVINO's two, or those of a folder."""
    if path.is_dir():
        return [part for part in sorted(path.rglob("*")) if part.is_file()]
    weights = path.with_suffix(".bin")
    return [path, weights] if path.suffix == ".xml" else [path]


def report_place(path: Path) -> Path:
    """Where the report of an export lies."""
    if path.is_dir():
        return path / SAVED_MODEL_PLACE.with_name("report.json")
    return path.with_name(f"{path.name}.json")


def write_report(report: ExportReport, draft: Path) -> None:
    write_json(report_place(draft), dataclasses.asdict(report))


class aside:
    """A path of the same name in a temporary folder beside `path`; what lies there at the end is moved over.

    After an error nothing is moved, and what was at `path` before stays.
    """

    def __init__(self, path: Path, format: str) -> None:
        self.path, self.format = path, format

    def __enter__(self) -> Path:
        if self.path.is_dir() != (self.format == "tf_saved_model") and self.path.exists():
            raise ValueError(f"{self.path} is in the way: choose another path.")
        if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / SAVED_MODEL_PLACE).is_file():
            raise ValueError(
                f"{self.path} is a folder that senet.export did not write, and will not replace. Choose "
                "another path."
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f".{self.path.stem}-", dir=self.path.parent))
        return self.folder / self.path.name

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if kind is None:
                self.move()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def move(self) -> None:
        draft = self.folder / self.path.name
        if draft.is_dir():
            if self.path.is_dir():
                self.path.rename(self.folder / "before")
            draft.rename(self.path)
            return
        # The file that is opened comes last: the hash in it is of all.
        for part in [report_place(draft), *reversed(parts_of(draft))]:
            part.chmod(0o644)
            part.replace(self.path.with_name(part.name))

"""`senet.export`: every format and precision, the check in the runtime, and what bad input gets."""

import dataclasses
import json
import re
import sys

import keras
import numpy as np
import pytest

import senet
from senet.deploy import export as exporting
from senet.deploy.export import Disagreement, export
from senet.deploy.formats import FORMATS
from senet.deploy.runtimes import open_runtime
from tests.deploy.conftest import LABELS, PREPROCESS, SIDE, answers, pictures, relative, small
from tests.models import representatives as tables
from tests.models.test_engines import as_after_training

for package in ("onnx", "onnxruntime", "openvino", "ai_edge_litert"):
    pytest.importorskip(package)

TENSORFLOW = keras.backend.backend() == "tensorflow"
NEEDS_TENSORFLOW = ("litert", "tf_saved_model")
HERE = [name for name in FORMATS if TENSORFLOW or name not in NEEDS_TENSORFLOW]
PRECISIONS = [
    (precision, name) for precision in ("float16", "int8") for name in HERE if name != "tf_saved_model"
]
PUBLISHED = (
    "se_bn_inception",
    "se_resnet_50",
    "se_resnet_101",
    "se_resnet_152",
    "se_resnext_50_32x4d",
    "se_resnext_101_32x4d",
    "senet_154",
)


def usual(cases, fast):
    """The cases of `fast` in every run, the others among the slow tests."""
    marks = {True: (), False: (pytest.mark.slow,)}
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [
        pytest.param(*value, marks=marks[case in fast]) for case, value in zip(cases, values, strict=True)
    ]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return small()


def place(tmp_path, format: str):
    return tmp_path / f"model{FORMATS[format].suffix}"


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.engine
@pytest.mark.parametrize("format", HERE)
def test_a_file_answers_as_the_model_and_says_what_it_is(tmp_path, model, format, folder):
    path = place(tmp_path, format)
    before = [np.array(w) for w in model.get_weights()]
    report = export(model, path, labels=LABELS, samples=folder)
    predictor = open_runtime(path)
    x = PREPROCESS.batch(pictures(3))
    assert relative(predictor.predict(x), answers(model, x)) < 1e-4
    assert (report.format, report.runtime, report.samples) == (format, FORMATS[format].runtime, 10)
    assert report.samples_from == "the given images"
    assert report.relative_difference < 1e-4
    assert report.top1_agreement == 1.0
    assert report.sha256 == predictor.sha256
    assert report.size_bytes == sum(part.stat().st_size for part in exporting.parts_of(path)) - (
        (path / "assets.extra" / "report.json").stat().st_size if path.is_dir() else 0
    )
    assert report.latency.runs >= 3
    assert set(report.versions) >= {"senet", "keras"}
    saved = json.loads(exporting.report_place(path).read_text())
    assert saved == json.loads(report.to_json())
    found = predictor.metadata
    assert (found.labels, found.answers, found.model) == (LABELS, "probabilities", "se_resnet_50")
    assert predictor.preprocess == PREPROCESS
    assert [left.tolist() for left in before] == [w.tolist() for w in model.get_weights()]


@pytest.mark.parametrize(
    ("precision", "format"),
    usual(PRECISIONS, fast=[("float16", "onnx"), ("int8", "onnx"), ("int8", "litert")]),
)
def test_fewer_bits_make_a_smaller_file(tmp_path, format, precision):
    model, path = small(widths=(64, 128), stem_width=64), place(tmp_path, format)
    calibration = pictures(24, seed=2) if precision == "int8" else None
    options = {"precision": precision, "calibration": calibration, "samples": pictures(20)}
    report = export(model, path, image_size=SIDE, **options)
    weights = 4 * sum(int(np.prod(w.shape)) for w in model.weights)
    # The graph itself takes up to 120 kB, and in int8 the gates keep their size.
    assert report.size_bytes < {"float16": 0.55, "int8": 0.4}[precision] * weights + 120_000
    assert report.top1_agreement >= 0.9
    assert 0 < report.relative_difference < {"float16": 2e-2, "int8": 0.5}[precision]
    assert open_runtime(path).metadata.precision == precision


@pytest.mark.skipif("litert" not in HERE, reason="LiteRT files come from TensorFlow")
@pytest.mark.parametrize("optimize", [True, False])
def test_gates_and_ends_stay_in_float32_in_litert(tmp_path, optimize):
    from ai_edge_litert.interpreter import Interpreter

    model, path = small(widths=(64, 128), stem_width=64), tmp_path / "net.tflite"
    options = {"precision": "int8", "calibration": pictures(24, seed=2), "samples": pictures(20)}
    export(model, path, image_size=SIDE, batch=1, optimize=optimize, **options)
    tensors = Interpreter(str(path)).get_tensor_details()
    kept = [
        each
        for each in tensors
        if re.search(r"_se_(reduce|expand)|/stem_(pad|conv)|/classifier", each["name"])
    ]
    assert len(kept) >= 12
    assert {each["dtype"] for each in kept} <= {np.float32, np.int32}  # whole numbers are shapes
    eight = {each["name"].rpartition("/")[0] for each in tensors if each["dtype"] is np.int8}
    assert any("expand_conv" in name for name in eight)


@pytest.mark.engine
@pytest.mark.parametrize("batch", [None, 3])
def test_gates_and_ends_stay_in_float32_in_onnx(tmp_path, batch):
    import onnx

    model, path = small(widths=(64, 128), stem_width=64), tmp_path / "net.onnx"
    options = {"precision": "int8", "calibration": pictures(24, seed=2), "samples": pictures(20)}
    export(model, path, image_size=SIDE, batch=batch, **options)
    graph = onnx.load(path).graph
    names = {each.name for each in graph.initializer if each.data_type == onnx.TensorProto.FLOAT}
    eight = {each.name for each in graph.initializer if each.data_type == onnx.TensorProto.INT8}
    kernels = {layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    stem = next(layer.name for layer in model.layers if layer.name in kernels)
    kept = {name.partition("/")[0] for name in names if name.endswith("/kernel")}
    assert {stem, "classifier", "stage1_block1_se_reduce", "stage2_block1_se_expand"} <= kept
    assert {name.partition("/")[0] for name in eight if "/kernel" in name} == kernels - {stem}
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == (batch or 0)
    assert open_runtime(path).predict(PREPROCESS.batch(pictures(7))).shape[0] == 7


@pytest.mark.parametrize("format", usual(HERE, fast=["onnx", "tf_saved_model"]))
def test_a_file_with_normalisation_takes_pixels(tmp_path, model, format):
    path = place(tmp_path, format)
    export(model, path, bake_preprocess=True, batch=2, image_size=SIDE)
    predictor = open_runtime(path)
    assert predictor.input_shape == (2, SIDE, SIDE, 3)
    pixels = np.stack([PREPROCESS.pixels(image) for image in pictures(5)])  # not a multiple of the batch
    expected = answers(model, PREPROCESS(pixels))
    assert relative(predictor.predict(pixels.astype(np.float32)), expected) < 1e-4
    assert predictor.preprocess == dataclasses.replace(PREPROCESS, mean=(0, 0, 0), std=(1, 1, 1))


def test_the_plain_network_and_the_optimised_one_answer_the_same(tmp_path, model):
    plain = export(model, tmp_path / "plain.onnx", optimize=False)
    fast = export(model, tmp_path / "fast.onnx")
    assert (plain.optimized, fast.optimized) == (False, True)
    x = PREPROCESS.batch(pictures(2))
    one, other = (open_runtime(tmp_path / f"{name}.onnx").predict(x) for name in ("plain", "fast"))
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert plain.sha256 != fast.sha256


def test_a_network_without_se_and_one_of_features(tmp_path):
    export(small("resnet_50"), tmp_path / "plain.onnx")
    model = senet.create_model("se_resnet_50", blocks=(1, 1), widths=(8, 16), features_only=True)
    report = export(model, tmp_path / "features.xml", image_size=(33, 47))
    assert report.top1_agreement is None
    x = np.random.default_rng(0).normal(size=(1, 33, 47, 3)).astype(np.float32)
    found = open_runtime(tmp_path / "features.xml").predict(x)
    expected = model(x, training=False)
    assert list(found) == ["stride_4", "stride_8"]
    for name, values in found.items():
        assert relative(values, keras.ops.convert_to_numpy(expected[name])) < 1e-4


def test_metadata_fit_the_size_of_the_file(tmp_path, model):
    export(model, tmp_path / "large.onnx", image_size=64)
    found = open_runtime(tmp_path / "large.onnx").preprocess
    assert (found.resize, found.crop) == (72, 64)  # 36 to 32, as before
    export(model, tmp_path / "oblong.onnx", image_size=(33, 65))
    found = open_runtime(tmp_path / "oblong.onnx").preprocess
    assert (found.resize, found.crop) == (None, None)


def test_generated_images_are_reported_and_the_same_every_time(tmp_path, model):
    first, second = (export(model, tmp_path / f"{i}.onnx") for i in range(2))
    assert first.samples_from == "generated images"
    assert first.max_difference == second.max_difference
    assert first.sha256 == second.sha256  # nothing of time or place is in a file


def wrong(model: keras.Model) -> keras.Model:
    """A copy with one weight changed."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    layer = copy.get_layer("classifier")
    layer.set_weights([0.9 * layer.get_weights()[0], layer.get_weights()[1]])
    return copy


@pytest.mark.parametrize("format", usual(HERE, fast=["onnx", "tf_saved_model"]))
def test_an_export_that_disagrees_leaves_no_file_and_keeps_the_old_one(tmp_path, model, format, monkeypatch):
    path = place(tmp_path, format)
    monkeypatch.setattr(exporting, "optimized", wrong)
    with pytest.raises(Disagreement, match=r"relative difference .* was not written"):
        export(model, path)
    assert files(tmp_path) == []
    monkeypatch.undo()
    if format == "onnx":  # a format is like another here
        report = export(model, path)
        monkeypatch.setattr(exporting, "optimized", wrong)
        with pytest.raises(Disagreement):
            export(model, path)
        assert open_runtime(path).sha256 == report.sha256


def test_too_low_an_agreement_is_a_disagreement(tmp_path, model):
    options = {"precision": "int8", "calibration": pictures(8), "samples": pictures(8)}
    with pytest.raises(Disagreement, match=r"top-1 agreement .* less than"):
        export(model, tmp_path / "model.onnx", min_agreement=1.01, **options)
    assert files(tmp_path) == []


def test_a_file_is_replaced_by_one_of_its_kind_only(tmp_path, model):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="did not write"):
        export(model, tmp_path / "mine", "tf_saved_model")
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(ValueError, match="in the way"):
        export(model, tmp_path / "model.onnx")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "model.xml", "format": "onnx"}, r"must end in \.onnx"),
        ({"path": "model.bin"}, r"must end in \.onnx, \.xml"),
        ({"path": "model.onnx", "format": "onx"}, "Did you mean 'onnx'"),
        ({"precision": "bfloat16"}, "'float32', 'float16', 'int8'"),
        ({"precision": "int8"}, "needs `calibration`"),
        ({"path": "folder", "precision": "int8", "calibration": []}, "precision='float32' only"),
        ({"path": "folder", "precision": "float16"}, "precision='float32' only"),
        ({"batch": 0}, "`batch`"),
        ({"image_size": 0}, "`image_size`"),
        ({"image_size": (32, 32, 3)}, "`image_size`"),
        ({"labels": ["one"]}, "7 classes"),
        ({"labels": ["a\nb"] * 7}, "one line"),
        ({"precision": "int8", "calibration": [1, 2]}, "must be paths"),
        ({"precision": "int8", "calibration": 5}, "`calibration` must be paths"),
        ({"precision": "int8", "calibration": []}, "no image"),
        ({"precision": "int8", "calibration": "nowhere.jpg"}, "nowhere.jpg cannot be read"),
        (
            {"precision": "int8", "calibration": np.zeros((4, 32, 32, 1), np.float32)},
            "must be images of shape",
        ),
        ({"precision": "int8", "calibration": np.full((4, 32, 32, 3), np.nan)}, "finite"),
        ({"precision": "int8", "calibration": np.zeros((4, 32, 32, 3), np.int32)}, "uint8"),
        ({"precision": "int8", "calibration": pictures(3), "batch": 4}, "at least one batch of 4"),
        (
            {"bake_preprocess": True, "samples": np.zeros((1, 32, 32, 3), np.float32)},
            "normalises them itself",
        ),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(tmp_path, model, options, words):
    options = dict(options)
    path = tmp_path / options.pop("path", "model.onnx")
    with pytest.raises((ValueError, OSError), match=words):
        export(model, path, **options)
    assert files(tmp_path) == []


def test_models_that_cannot_be_exported(tmp_path):
    class Own(keras.Model):
        def call(self, x):
            return x

    for bad, words in (
        (Own(), "functional"),
        (keras.Sequential([keras.layers.Dense(2)]), "functional"),
        ("se_resnet_50", "functional"),
        (keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), "must take images"),
    ):
        with pytest.raises(ValueError, match=words):
            export(bad, tmp_path / "model.onnx")
    fixed = small(input_shape=(SIDE, SIDE, 3))
    with pytest.raises(ValueError, match="built for"):
        export(fixed, tmp_path / "model.onnx", image_size=64)
    del fixed.preprocess
    with pytest.raises(ValueError, match="needs a `preprocess`"):
        export(fixed, tmp_path / "model.onnx", bake_preprocess=True)
    with pytest.raises(ValueError, match="`samples` are pixels"):
        export(fixed, tmp_path / "model.onnx", samples=pictures(1))
    assert files(tmp_path) == []


def test_a_missing_package_names_the_extra(tmp_path, model, monkeypatch):
    for package, name in (("onnxruntime", "model.onnx"), ("openvino", "model.xml")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(ImportError, match=rf"package {package}: pip install 'senet\[export\]'"):
                export(model, tmp_path / name)
    assert files(tmp_path) == []


@pytest.mark.engine
@pytest.mark.parametrize("format", NEEDS_TENSORFLOW)
def test_what_needs_tensorflow_says_so(tmp_path, model, format, monkeypatch):
    if TENSORFLOW:
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"KERAS_BACKEND=tensorflow"):
        export(model, place(tmp_path, format))
    assert files(tmp_path) == []


def test_a_custom_layer_is_named_and_a_saved_model_takes_it(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class Halving(keras.layers.Layer):
        def call(self, x):
            return x / 2

    inner = small()
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), Halving(name="half"), inner])
    with pytest.raises(ValueError, match=r"'half', a Halving.*tf_saved_model"):
        export(model, tmp_path / "model.onnx", preprocess=PREPROCESS)
    assert files(tmp_path) == []
    if TENSORFLOW:
        assert export(model, tmp_path / "saved", preprocess=PREPROCESS).relative_difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_networks_in_every_format(tmp_path, name):
    keras.utils.set_random_seed(0)
    side = 64
    model = senet.create_model(name, classes=10, input_shape=(side, side, 3), **tables.shallow(name))
    as_after_training(model, (side, side), np.random.default_rng(0))
    # Images that fit the statistics: on others, random weights let rounding grow from layer to layer.
    samples = np.random.default_rng(1).normal(size=(4, side, side, 3)).astype(np.float32)
    for format in HERE:
        report = export(model, place(tmp_path, format), samples=samples, batch=1)
        assert report.relative_difference < 1e-4

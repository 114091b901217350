"""What a measuring process does, on the engine of this one: files, steps, memory."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from senet.bench import measure
from senet.bench.protocol import resident_peak_mib
from senet.bench.subjects import Subject, matmul

SMALL = Subject(model="se_resnet_20_cifar", engine=keras.backend.backend(), batch=2)


def question(subject: Subject, folder, **options):
    own = {"image_size": 16, "calibration": None, "folder": str(folder)}
    return {**dataclasses.asdict(subject), **own, **options}


@pytest.mark.engine
@pytest.mark.usefixtures("shallow")
def test_a_file_is_made_and_its_step_answers(tmp_path):
    made = measure.Maker().make(question(SMALL, tmp_path))
    assert made["image_shape"] == [16, 16, 3]
    step = measure.open_subject(question(SMALL, tmp_path, **made), threads=2)
    answer = np.asarray(step())
    assert answer.shape == (2, 10)
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-5)


@pytest.fixture
def shallow(monkeypatch):
    """One block a stage, so that a training step is traced in a few seconds."""
    build = measure.build
    monkeypatch.setattr(measure, "build", lambda *args, **changes: build(*args, blocks=(1, 1, 1), **changes))


@pytest.mark.engine
@pytest.mark.usefixtures("shallow")
def test_a_training_step_learns_the_loss_of_the_recipes(tmp_path):
    step = measure.open_subject(question(SMALL.sibling(task="train"), tmp_path), threads=2)
    loss = float(step())
    assert 1 < loss < 10  # ln 10 = 2.3 for ten classes, and random weights are not far off


def test_statistics_fit_the_images():
    model = measure.build("resnet_20_cifar", "float32", 32)
    names = [layer.name for layer in model.layers if layer.name.endswith("_act")]
    last = keras.Model(model.input, model.get_layer(names[-1]).output)
    values = keras.ops.convert_to_numpy(last(measure.images(4, (32, 32, 3))))
    # Without them a residual sum grows by block; with them it stays of the order of the branches.
    assert 0.1 < values.std() < 10
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {norm.momentum for norm in norms} == {0.9}


def test_precisions_of_keras_are_policies(tmp_path):
    subject = SMALL.sibling(model="resnet_20_cifar", precision="bfloat16")
    measure.Maker().make(question(subject, tmp_path))
    model = keras.saving.load_model(measure.file_of(subject, tmp_path))
    kinds = {layer.compute_dtype for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    assert kinds == {"bfloat16"}


def test_files_of_different_subjects_do_not_meet(tmp_path):
    subjects = [
        SMALL,
        SMALL.sibling(variant="optimized"),
        SMALL.sibling(precision="float16"),
        SMALL.sibling(runtime="onnxruntime", engine=None),
        SMALL.sibling(runtime="onnxruntime", engine=None, batch=4),
        SMALL.sibling(runtime="litert", engine=None),
        SMALL.sibling(runtime="openvino", engine=None),
    ]
    assert len({measure.file_of(subject, tmp_path) for subject in subjects}) == len(subjects)


@pytest.mark.engine
def test_matrix_products_are_of_their_side(tmp_path):
    small = matmul(keras.backend.backend()).sibling(batch=8)
    by_engine = measure.open_subject(question(small, tmp_path), threads=1)()
    by_numpy = measure.open_subject(question(small.sibling(engine="numpy"), tmp_path), threads=1)()
    assert by_numpy.shape == (8, 8)
    assert by_engine == pytest.approx(by_numpy[0, 0], rel=1e-4)


def test_this_process_has_held_memory():
    assert 100 < measure.peak_mib() <= resident_peak_mib() + 100

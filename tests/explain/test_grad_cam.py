"""Grad-CAM: the closed form against gradients, gradients against finite differences, and the sheet."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest
from PIL import Image

from senet.explain.grad_cam import CLOSED_FORM, GRADIENT, GradCam, grad_cam, gradients
from senet.explain.heatmaps import heatmaps, overlay, write_heatmaps
from tests.browser import check_page
from tests.explain.subjects import CLASSES, PREPROCESS, images, network
from tests.models.step import to_numpy

X = PREPROCESS(images(each=1).images)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.mark.engine
def test_the_closed_form_is_the_gradient(model):
    closed, by_gradient = grad_cam(model, X), grad_cam(model, X, way=GRADIENT)
    assert (closed.way, by_gradient.way) == (CLOSED_FORM, GRADIENT)
    assert closed.layer == by_gradient.layer == "stage3_block2_act"
    assert closed.maps.max() > 0.01
    np.testing.assert_allclose(closed.maps, by_gradient.maps, atol=1e-6)
    assert closed.classes.tolist() == to_numpy(model(X, training=False)).argmax(axis=1).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["se_preact_resnet_20_cifar", "se_mobilenet", "se_bn_inception", "se_shufflenet_g3"]
)
def test_the_closed_form_is_the_gradient_in_other_families(name):
    model = network(name)
    x = np.random.default_rng(0).normal(size=(1, 65, 97, 3)).astype(np.float32)
    closed, by_gradient = grad_cam(model, x), grad_cam(model, x, way=GRADIENT)
    assert (closed.way, closed.layer) == (CLOSED_FORM, by_gradient.layer)
    np.testing.assert_allclose(closed.maps, by_gradient.maps, atol=1e-5 * max(1, closed.maps.max()))


def after(model, name, features):
    """The logits (N, classes) where the layer `name` gives `features`."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    rest = keras.Model([copy.inputs[0], copy.get_layer(name).output], copy.outputs[0])
    return to_numpy(
        rest([keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(features)], training=False)
    )


@pytest.mark.engine
@pytest.mark.parametrize("name", ["stage2_block2_act", "stage2_block1_se"], ids=["a cut", "a branch"])
def test_gradients_are_those_of_finite_differences(model, name):
    explain = GradCam(model, layer=name)
    found = explain(X, 1)
    features = to_numpy(keras.Model(model.inputs[0], model.get_layer(name).output)(X, training=False))
    # Grad-CAM weighs a channel by the mean gradient: all its positions moved together show their sum.
    positions, step, weights = np.prod(features.shape[1:3]), 2e-3, []
    for channel in range(0, features.shape[-1], 11):
        moved = np.zeros_like(features)
        moved[..., channel] = step
        up, down = (after(model, name, features + sign * moved)[:, 1] for sign in (1, -1))
        weights.append((up - down) / (2 * step * positions))
    ours = gradients(explain.rest, X, features, np.ones(len(X), int)).mean(axis=(1, 2))[:, ::11].T
    np.testing.assert_allclose(ours, weights, atol=0.05 * np.abs(weights).max())
    assert found.maps.shape == features.shape[:3]
    assert found.layer == name


def test_a_model_with_softmax_is_explained_by_its_logits(model):
    keras.utils.set_random_seed(0)
    probable = network(classifier_activation="softmax")
    probable.set_weights(model.get_weights())
    ours = grad_cam(probable, X)
    np.testing.assert_allclose(ours.maps, grad_cam(model, X).maps, atol=1e-6)
    np.testing.assert_allclose(ours.logits, to_numpy(model(X, training=False)), atol=1e-4)


def test_a_stage_is_its_last_feature_map(model):
    found = grad_cam(model, X, layer="stage2")
    assert (found.layer, found.way, found.maps.shape) == ("stage2_block2_act", GRADIENT, (3, 8, 8))
    assert grad_cam(model, X, layer="stage3").way == CLOSED_FORM


@pytest.mark.slow
def test_the_class_may_be_chosen(model):
    each = [grad_cam(model, X, index).maps for index in range(3)]
    mixed = grad_cam(model, X, [2, 0, 1])
    np.testing.assert_allclose(mixed.maps, [each[2][0], each[0][1], each[1][2]], atol=1e-6)
    assert mixed.classes.tolist() == [2, 0, 1]
    assert not np.allclose(each[0], each[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "stage4"}, r"a stage \(stage1, stage2, stage3\).*'stage4'. Did you mean"),
        ({"layer": "pool"}, "layer with an output"),
        ({"layer": "stage2", "way": CLOSED_FORM}, "global mean and one dense layer.*way='gradient'"),
        ({"way": "fast"}, "must be one of 'auto', 'closed form', 'gradient'"),
        ({"classes": 3}, r"indices in 0..2. Received: classes=3"),
    ],
)
def test_what_cannot_be_explained_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(model, X, **options)


def test_a_softmax_that_cannot_be_taken_off_is_refused():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="stage1_conv")(inputs))
    fused = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="top")(x))
    with pytest.raises(ValueError, match=r"must end in logits.*'top'.*classifier_activation=None"):
        grad_cam(fused, X[:, :8, :8])


def test_a_network_without_a_mean_is_explained_where_positions_are_left():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu", name="stage1_conv")(inputs)
    x = keras.layers.Conv2D(5, 6, activation="relu", name="fc1")(x)
    flat = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    found = grad_cam(flat, X[:, :8, :8])
    assert (found.layer, found.way, found.maps.shape) == ("stage1_conv", GRADIENT, (3, 6, 6))


# Pictures


def test_the_overlay_is_coloured_where_the_map_is_high():
    pixels = np.full((32, 32, 3), 100, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3] = 2
    found = overlay(pixels, heat).astype(int)
    assert found.shape == (160, 160, 3)
    assert found[20, 140, 2] < found[20, 140, :2].min() - 50  # yellow
    assert np.ptp(found[140, 20]) == 0
    np.testing.assert_array_equal(overlay(pixels, 0 * heat)[::5, ::5], pixels)


@pytest.fixture
def files(tmp_path):
    paths = []
    for index, pixels in enumerate(images(each=2, side=24).images):
        paths.append(tmp_path / "in" / f"{index}.png")
        paths[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_heatmaps_of_files(model, files, tmp_path):
    found = heatmaps(model, files, preprocess=PREPROCESS, labels=CLASSES, label="Green", batch=4)
    assert [each.file for each in found] == [str(path) for path in files]
    assert {each.label for each in found} == {"green"}
    logits = to_numpy(model(PREPROCESS(np.stack([each.pixels for each in found])), training=False))
    expected = np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
    np.testing.assert_allclose([each.probability for each in found], expected, atol=1e-5)
    page, sheet, table = write_heatmaps(found, tmp_path / "out", model="ours")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["file"] for row in rows] == [str(path) for path in files]
    assert (rows[0]["height"], rows[0]["way"]) == ("6", CLOSED_FORM)
    with Image.open(sheet) as picture:
        assert picture.width > 600
    assert 'alt="Images, each beside itself' in page.read_text()
    with pytest.raises(ValueError, match=r"Received: 'grene'. Did you mean 'green'"):
        heatmaps(model, files, preprocess=PREPROCESS, labels=CLASSES, label="grene")


def test_images_of_several_sizes_go_through_one_by_one(model, tmp_path, files):
    Image.fromarray(images(each=1, side=20).images[0]).save(files[1])
    found = heatmaps(model, files[:3], preprocess=PREPROCESS, labels=CLASSES)
    assert [each.pixels.shape[0] for each in found] == [24, 20, 24]
    write_heatmaps(found, tmp_path / "out", model="ours")


@pytest.mark.slow
def test_the_page_in_a_browser(model, files, tmp_path):
    found = heatmaps(model, files, preprocess=PREPROCESS, labels=CLASSES)
    check_page(write_heatmaps(found, tmp_path / "out", model="ours")[0], tmp_path)

"""create_model: every argument, what it refuses, and weights from a file."""

import keras
import numpy as np
import pytest

import senet
from senet.layers import SESpec, SqueezeExcite
from tests.models.step import to_numpy

# A bottleneck network for larger images and a basic one for 32×32, both in a few milliseconds.
LARGE = {"blocks": (1, 1, 1, 1), "widths": (8, 12, 16, 24), "stem_width": 8, "classes": 10}
SMALL = {"blocks": (1, 1, 1), "widths": (8, 16, 24), "stem_width": 8}


def large(**options):
    return senet.create_model("se_resnet_50", **{**LARGE, **options})


def small(**options):
    return senet.create_model("se_resnet_20_cifar", **{**SMALL, **options})


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def randomize(model):
    """Random weights with BatchNorm statistics that are not those of a fresh model."""
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.5, 1.5, size=value.shape) * 0.1 for value in model.get_weights()])
    return model


def test_list_models_matches_a_pattern():
    assert len(senet.list_models()) == 111
    assert senet.list_models("se_resnet_1?[12]") == ["se_resnet_101", "se_resnet_152"]
    assert set(senet.list_models("*_cifar")) | set(senet.list_models("*[!r]")) == set(senet.list_models())
    assert senet.list_models("alex*") == []
    assert senet.list_models("*vgg*", weights=True) == ["vgg_16"]


@pytest.mark.parametrize(
    ("build", "size", "last"),
    [(large, (97, 129), (3, 4, 96)), (large, (64, 96), (2, 3, 96)), (small, (33, 47), (9, 12, 24))],
)
@pytest.mark.parametrize("fixed", [True, False])
def test_any_image_size(build, size, last, fixed):
    shape = (*size, 3) if fixed else None
    model = build(input_shape=shape)
    assert model.input_shape == (None, *(shape or (None, None, 3)))
    probabilities = to_numpy(model(images(2, *size, 3)))
    assert probabilities.shape == (2, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert build(input_shape=shape, include_top=False)(images(2, *size, 3)).shape == (2, *last)


@pytest.mark.parametrize("pooling", [None, "avg", "max"])
def test_without_top(pooling):
    model = small(include_top=False, pooling=pooling)
    randomize(model)
    features = keras.Model(model.input, model.get_layer("stage3_block1_act").output)
    expected = to_numpy(features(images(2, 32, 32, 3)))
    assert expected.shape == (2, 8, 8, 24)
    if pooling:
        expected = {"avg": np.mean, "max": np.max}[pooling](expected, axis=(1, 2))
    assert model.output_shape == ((None, None, None, 24) if pooling is None else (None, 24))
    np.testing.assert_allclose(to_numpy(model(images(2, 32, 32, 3))), expected, rtol=1e-5)
    assert "classifier" not in {layer.name for layer in model.layers}


@pytest.mark.parametrize("channels", [1, 4])
def test_channels(channels):
    model = small(input_shape=(32, 32, channels))
    assert model.get_layer("stem_conv").kernel.shape[2] == channels
    assert small(channels=channels).input_shape == (None, None, None, channels)
    assert to_numpy(model(images(1, 32, 32, channels))).shape == (1, 10)


def test_classes():
    assert small(classes=7).output_shape == (None, 7)
    assert senet.create_model("se_resnet_20_cifar").output_shape == (None, 10)
    assert large(classes=None).output_shape == (None, 1000)


def test_logits_are_what_softmax_is_taken_of():
    model, logits = small(), small(classifier_activation=None)
    logits.set_weights(randomize(model).get_weights())
    x = images(2, 32, 32, 3)
    scores = to_numpy(logits(x)).astype(np.float64)
    assert abs(scores.sum(axis=1) - 1).min() > 1e-3
    np.testing.assert_allclose(
        to_numpy(model(x)), np.exp(scores) / np.exp(scores).sum(1, keepdims=True), rtol=1e-5
    )


def test_name():
    assert small().name == "se_resnet_20_cifar"
    assert small(name="mine").name == "mine"


def test_input_tensor_behind_a_preprocessing_layer():
    inputs = keras.Input((32, 32, 3), name="photo", dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    model, plain = small(input_tensor=scaled), small()
    plain.set_weights(randomize(model).get_weights())
    assert model.input is inputs
    photo = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    np.testing.assert_allclose(
        to_numpy(model(photo)), to_numpy(plain((photo / 127.5 - 1).astype("float32"))), rtol=1e-4
    )


def test_input_tensor_that_is_the_input():
    inputs = keras.Input((32, 32, 3))
    assert small(input_tensor=inputs).input is inputs
    assert small(input_tensor=inputs, input_shape=(32, 32, 3)).input is inputs


def test_input_tensor_of_two_sources():
    sources = [keras.Input((32, 32, 3)), keras.Input((32, 32, 1))]
    model = small(input_tensor=keras.layers.Concatenate()(sources))
    assert [id(tensor) for tensor in model.inputs] == [id(tensor) for tensor in sources]
    assert model.get_layer("stem_conv").kernel.shape[2] == 4


@pytest.mark.parametrize(
    ("build", "strides", "channels", "sizes"),
    [
        (large, (4, 8, 16, 32), (32, 48, 64, 96), ((24, 32), (12, 16), (6, 8), (3, 4))),
        (small, (1, 2, 4), (8, 16, 24), ((97, 129), (49, 65), (25, 33))),
    ],
)
def test_features_only(build, strides, channels, sizes):
    features = build(features_only=True)(images(1, 97, 129, 3))
    assert list(features) == [f"stride_{stride}" for stride in strides]
    assert [tuple(map_.shape) for map_ in features.values()] == [
        (1, *size, width) for size, width in zip(sizes, channels, strict=True)
    ]


def test_features_are_the_stages_of_the_network():
    model, pyramid = small(), small(features_only=True)
    pyramid.set_weights(randomize(model).get_weights()[:-2])
    x = images(1, 32, 32, 3)
    for number, feature in enumerate(pyramid(x).values(), start=1):
        stage = keras.Model(model.input, model.get_layer(f"stage{number}_block1_act").output)
        np.testing.assert_allclose(to_numpy(feature), to_numpy(stage(x)), rtol=1e-6)


def test_dropout_stands_before_the_classifier():
    model = small(dropout=0.3)
    layer = model.get_layer("dropout")
    assert layer.rate == 0.3
    assert layer.input is model.get_layer("pool").output
    assert model.get_layer("classifier").input is layer.output
    assert "dropout" not in {layer.name for layer in small().layers}


def test_drop_path_grows_linearly_and_rests_at_inference():
    keras.utils.set_random_seed(0)
    model, plain = small(blocks=(2, 2, 2), drop_path=0.5), small(blocks=(2, 2, 2))
    by_path = {weight.path: to_numpy(weight) for weight in model.weights}
    plain.set_weights([by_path[weight.path] for weight in plain.weights])
    rates = {layer.name: layer.rate for layer in model.layers if layer.name.endswith("drop_path")}
    # The first block's rate is zero: it has no such layer.
    assert list(rates) == [f"stage{s}_block{b}_drop_path" for s in (1, 2, 3) for b in (1, 2)][1:]
    assert list(rates.values()) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])

    x = images(4, 32, 32, 3)
    np.testing.assert_array_equal(to_numpy(model(x)), to_numpy(plain(x)))
    drawn = [to_numpy(model(x, training=True)) for _ in range(2)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-4


@pytest.mark.engine
def test_drop_path_drops_the_whole_branch_of_an_image():
    keras.utils.set_random_seed(0)
    layer = small(blocks=(1, 1), widths=(8, 16), drop_path=0.5).get_layer("stage2_block1_drop_path")
    y = to_numpy(layer(np.ones((64, 4, 4, 8), "float32"), training=True))
    kept = y[:, 0, 0, 0]
    assert set(kept) == {0.0, 2.0}  # what is kept is scaled by 1 / (1 - rate)
    np.testing.assert_array_equal(y, np.broadcast_to(kept[:, None, None, None], y.shape))
    np.testing.assert_array_equal(to_numpy(layer(np.ones((2, 4, 4, 8), "float32"), training=False)), 1)


@pytest.mark.parametrize("name", ["model.weights.h5", "model.keras"])
def test_weights_from_a_file(name, tmp_path):
    model, path = randomize(small()), tmp_path / name
    model.save(path) if name.endswith(".keras") else model.save_weights(path)
    x = images(2, 32, 32, 3)
    expected = to_numpy(model(x))
    assert not np.allclose(to_numpy(small()(x)), expected, atol=1e-3)
    np.testing.assert_array_equal(to_numpy(small(weights=path)(x)), expected)
    np.testing.assert_array_equal(to_numpy(small(weights=str(path))(x)), expected)


@pytest.mark.engine
def test_saved_network_loads_in_safe_mode(tmp_path):
    spec = SESpec(ratio=4, squeeze="none", gate="tanh", position="post", stages=(1, 3))
    model = randomize(small(se=spec, dropout=0.1, drop_path=0.1))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = images(2, 32, 32, 3)
    np.testing.assert_array_equal(to_numpy(copy(x)), to_numpy(model(x)))
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    found = [layer.name for layer in copy.layers if isinstance(layer, SqueezeExcite)]
    assert found == ["stage1_block1_se", "stage3_block1_se"]


def test_weights_with_a_top_fill_a_network_without(tmp_path):
    model, path = randomize(small()), tmp_path / "model.weights.h5"
    model.save_weights(path)
    x = images(2, 32, 32, 3)
    expected = keras.Model(model.input, model.get_layer("stage3_block1_act").output)(x)
    np.testing.assert_array_equal(to_numpy(small(include_top=False, weights=path)(x)), to_numpy(expected))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"blocks": (2, 1, 1)},
            r"left over: stage1_block2_se_expand, stage1_block2_se_reduce, stage1_block2_spa",
        ),
        ({"widths": (8, 16, 32)}, r"of another shape: classifier, stage3_block1"),
        ({"classes": 7}, r"of another shape: classifier\.$"),
        ({"se": None}, r"missing: stage1_block1_se_expand, stage1_block1_se_reduce"),
        ({"se": SESpec(bias=False)}, r"of another shape: stage1_block1_se_expand, stage1_block1_se_reduce"),
        ({"se": SESpec(ratio=4)}, r"of another shape: stage1_block1_se_expand, stage1_block1_se_reduce"),
        ({"se": SESpec(stages=(1, 3))}, r"missing: stage2_block1_se_expand, stage2_block1_se_reduce\.$"),
        ({"include_top": False}, r"missing: classifier\.$"),
    ],
)
def test_weights_of_another_network_are_refused(other, message, tmp_path):
    small(**other).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match=r"another network than 'se_resnet_20_cifar'.*" + message):
        small(weights=tmp_path / "other.weights.h5")


@pytest.mark.parametrize("name", ["broken.weights.h5", "broken.keras"])
def test_a_file_that_holds_no_weights_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"not a weights file")
    with pytest.raises(ValueError, match=r"not a weights file of Keras 3: .*broken"):
        small(weights=tmp_path / name)


@pytest.mark.parametrize(
    ("saved", "built"),
    [
        ({"drop_path": 0.2}, {}),
        ({"dropout": 0.2}, {}),
        ({"se": SESpec(position="identity")}, {}),
        ({"se": SESpec(position="identity", stages=(1,))}, {"se": SESpec(stages=(1,))}),
    ],
)
def test_weights_go_by_layer_name(saved, built, tmp_path):
    """What moves a layer in the graph does not move its weights to another.

    The first projection of a bottleneck network has the shape of the convolution beside it: in the order of
    the graph, which is how Keras itself loads, the last row makes the two change places in silence.
    """
    changed = randomize(large(**saved))
    changed.save_weights(tmp_path / "changed.weights.h5")
    assert values_by_path(large(**built, weights=tmp_path / "changed.weights.h5")) == values_by_path(changed)


def values_by_path(model):
    return {weight.path: to_numpy(weight).tolist() for weight in model.weights}


def test_weights_of_a_compiled_model(tmp_path):
    model = randomize(small(dropout=0.1))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "trained.keras")
    assert values_by_path(small(weights=tmp_path / "trained.keras")) == values_by_path(model)


def test_bfloat16_weights_from_a_file(tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    model = randomize(small())
    model.save_weights(tmp_path / "half.weights.h5")
    copy = small(weights=tmp_path / "half.weights.h5")
    for ours, theirs in zip(copy.weights, model.weights, strict=True):
        assert ours.dtype == "bfloat16"
        np.testing.assert_array_equal(to_numpy(ours).astype("float32"), to_numpy(theirs).astype("float32"))


@pytest.mark.parametrize(
    ("error", "options", "message"),
    [
        (ValueError, {"drop_pth": 0.1}, r"'drop_pth' is not an option.*Did you mean 'drop_path'"),
        (ValueError, {"se": {"ratoi": 8}}, r"'ratoi' is not an option of SESpec\. Did you mean 'ratio'"),
        (ValueError, {"input_shape": (3, 224, 224)}, r"looks like channels first.*mean \(224, 224, 3\)\?"),
        (ValueError, {"input_shape": (1, None, None)}, r"with the channels known"),
        (ValueError, {"input_shape": (3, 64, 96)}, r"looks like channels first.*mean \(64, 96, 3\)\?"),
        (ValueError, {"input_shape": (32, 32)}, r"must be \(height, width, channels\).*\(32, 32\)"),
        (ValueError, {"input_shape": (32, 0, 3)}, r"must be \(height, width, channels\)"),
        (ValueError, {"input_shape": (31, 64, 3)}, r"too small.*at least 32 pixels.*\(31, 64, 3\)"),
        (ValueError, {"input_shape": (None, 31, 3)}, r"too small"),
        (ValueError, {"include_top": False, "pooling": "mean"}, r"'avg' or 'max'\. Received: pooling='mean'"),
        (ValueError, {"classes": 0}, r"`classes` must be an integer of at least 1\. Received: classes=0"),
        (ValueError, {"classes": True}, r"Received: classes=True"),
        (ValueError, {"classes": 10.0}, r"Received: classes=10\.0"),
        (ValueError, {"weights": "imagenet10"}, r"must be one of .* Received: 'imagenet10'"),
        (FileNotFoundError, {"weights": "nowhere/some.weights.h5"}, r"does not exist: .*some\.weights\.h5"),
        (ValueError, {"features_only": True, "pooling": "avg"}, r"leave `include_top` and `pooling` out"),
        (ValueError, {"features_only": True, "include_top": False}, r"leave `include_top` and `pooling` out"),
        (
            ValueError,
            {"input_tensor": np.zeros((1, 64, 64, 3))},
            r"must be a Keras tensor.*Received: ndarray",
        ),
    ],
)
def test_what_does_not_fit_is_refused(error, options, message):
    with pytest.raises(error, match=message):
        large(**options)


@pytest.mark.parametrize("shape", [(64,), (64, 64), (64, 64, None), (16, 16, 3)])
def test_input_tensor_must_fit(shape):
    with pytest.raises(ValueError, match=r"`input_shape`.*Received: input_shape="):
        large(input_tensor=keras.Input(shape))


def test_input_tensor_and_shape_must_agree():
    with pytest.raises(ValueError, match="or two that agree"):
        large(input_tensor=keras.Input((64, 64, 3)), input_shape=(96, 96, 3))


@pytest.mark.parametrize(
    ("name", "near"), [("se_resnet50", "'se_resnet_50'"), ("se_resnet_20_cifer", "'se_resnet_20_cifar'")]
)
def test_unknown_model_names_the_nearest(name, near):
    with pytest.raises(ValueError, match=rf"Received: '{name}'\. Did you mean .*{near}"):
        senet.create_model(name)


def test_smallest_images_are_accepted():
    assert large(input_shape=(32, 32, 3), include_top=False).output_shape == (None, 1, 1, 96)
    assert small(input_shape=(4, 4, 3), include_top=False).output_shape == (None, 1, 1, 24)


def test_keras_set_to_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    with pytest.raises(ValueError, match="channels-last networks only"):
        small()

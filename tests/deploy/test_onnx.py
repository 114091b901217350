"""ONNX written from the layers: every network, every rule, and what cannot be written."""

import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.deploy.onnx_writer import OPSET, output_names, write_onnx
from senet.deploy.optimize import optimize_for_inference
from senet.layers import SESpec
from tests.deploy.conftest import answers, relative, small
from tests.models import representatives as tables
from tests.models.test_engines import as_after_training

onnxruntime = pytest.importorskip("onnxruntime")

TOLERANCE = 1e-4  # the exporter's own, relative, float32
# One of each family: residual, grouped, pre-activated, Inception, depthwise with shuffle, Shake-Shake.
FAMILIES = (
    "se_resnext_50_32x4d",
    "se_preact_resnet_20_cifar",
    "se_bn_inception",
    "se_shufflenet_g3",
    "se_shake_shake_20_2x16d_cifar",
)


def network(name: str, index: int = 0) -> keras.Model:
    """A shallow network with the statistics of a batch, ending in logits."""
    keras.utils.set_random_seed(index)
    narrow = {"widths": (8, 8, 16, 16, 16)} if "vgg" in name else {}  # its dense layers are 130 M weights
    model = tables.build(name, classifier_activation=None, **narrow)
    as_after_training(model, tables.side(name), np.random.default_rng(index))
    return model


def images(name: str, count: int = 2) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, *tables.side(name), 3)).astype(np.float32)


def session(model: keras.Model, shape=None, **options):
    written, _ = write_onnx(model, shape or model.input_shape, **options)
    return onnxruntime.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])


def run(model: keras.Model, x: np.ndarray, **options) -> list[np.ndarray]:
    return session(model, **options).run(None, {"image": x})


def assert_equal(model: keras.Model, x: np.ndarray, **options) -> None:
    expected = keras.tree.flatten(model(x, training=False))
    for found, own in zip(run(model, x, **options), expected, strict=True):
        own = keras.ops.convert_to_numpy(own)
        assert found.shape == own.shape
        assert relative(found, own) < TOLERANCE


@pytest.mark.engine
@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_each_family(name):
    assert_equal(network(name), images(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", tables.NAMES)
def test_every_network_answers_the_same_in_both_runtimes(name, tmp_path):
    """The network as it is in ONNX Runtime, and as optimised in OpenVINO."""
    openvino = pytest.importorskip("openvino")
    model, x = network(name, tables.NAMES.index(name)), images(name)
    expected = answers(model, x)
    assert relative(run(model, x)[0], expected) < TOLERANCE
    written, _ = write_onnx(optimize_for_inference(model), (None, *x.shape[1:]))
    (tmp_path / "model.onnx").write_bytes(written.SerializeToString())
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(openvino.convert_model(tmp_path / "model.onnx"), "CPU", exact)
    assert relative(compiled(x)[0], expected) < TOLERANCE


def test_any_size_and_batch_of_one_file():
    model = network("se_resnet_50")
    file = session(model)
    for count, size in enumerate([(32, 32), (33, 47), (65, 97), (64, 34)], start=1):
        x = np.random.default_rng(1).normal(size=(count, *size, 3)).astype(np.float32)
        assert relative(file.run(None, {"image": x})[0], answers(model, x)) < TOLERANCE


@pytest.mark.parametrize("size", [(224, 224), (43, 61), (32, 250)])
def test_the_pool_to_a_fixed_grid_at_any_size(size):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, senet.layers.adaptive_pool.AdaptiveMeanPool(7)(image))
    x = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)
    assert_equal(model, x)
    assert_equal(model, x, shape=(None, *size, 3))


def test_groups_are_the_operators_own_and_names_the_layers():
    model = network("se_resnext_50_32x4d")
    written, gates = write_onnx(model, model.input_shape)
    nodes = {node.name: node for node in written.graph.node}
    grouped = nodes["stage1_block1_spatial_conv"]
    assert grouped.op_type == "Conv"
    assert {a.name: a.i for a in grouped.attribute}["group"] == 32
    assert not any(node.op_type == "Pad" for node in written.graph.node)  # each is part of an operator
    assert "stage1_block1_se_reduce" in gates
    assert "stage1_block1_spatial_conv" not in gates
    assert written.opset_import[0].version == OPSET
    assert [o.name for o in written.graph.output] == ["output"]


def test_the_optimised_network_has_no_norm_left():
    model = network("se_resnet_50")
    written, gates = write_onnx(optimize_for_inference(model), model.input_shape)
    kinds = [node.op_type for node in written.graph.node]
    assert "BatchNormalization" not in kinds
    assert (
        kinds.count("GlobalAveragePool") == len(model.get_config()["layers"]) * 0 + 6
    )  # five SE blocks, head
    assert gates


def test_features_and_headless_networks():
    for options in (
        {"features_only": True},
        {"include_top": False},
        {"include_top": False, "pooling": "max"},
    ):
        model = senet.create_model("se_resnet_50", blocks=(1, 1), widths=(8, 16), **options)
        x = np.random.default_rng(0).normal(size=(2, 33, 47, 3)).astype(np.float32)
        assert_equal(model, x)
    features = senet.create_model("se_resnet_50", blocks=(1, 1), widths=(8, 16), features_only=True)
    found = session(features)
    assert (
        [output.name for output in found.get_outputs()] == output_names(features) == ["stride_4", "stride_8"]
    )


@pytest.mark.parametrize(
    "se",
    [
        SESpec(squeeze="max"),
        SESpec(squeeze="none"),
        SESpec(gate="tanh", bias=False),
        SESpec(gate="relu", position="post"),
        SESpec(position="3x3", ratio=4),
        SESpec(position="identity"),
    ],
)
def test_every_kind_of_se_block(se):
    model = small(se=se, classifier_activation=None)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    assert_equal(model, x)
    assert_equal(optimize_for_inference(model), x)


def with_weights(model: keras.Model) -> keras.Model:
    """Every variable random, so that no zero or one hides a mistake."""
    rng = np.random.default_rng(3)
    for variable in model.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


def chain(*made) -> keras.Model:
    return with_weights(keras.Sequential([keras.Input((9, 11, 4)), *made]))


def merged(layer) -> keras.Model:
    image = keras.Input((9, 11, 4))
    branches = [layers.Conv2D(5, 1, name=f"branch{index}")(image) for index in range(3)]
    return with_weights(keras.Model(image, layer(branches[: 2 if isinstance(layer, layers.Subtract) else 3])))


@pytest.mark.parametrize(
    "model",
    [
        lambda: chain(layers.Conv2D(6, 3, 2, "same", activation="silu")),
        lambda: chain(layers.Conv2D(6, (2, 5), 1, "same", dilation_rate=2)),
        lambda: chain(layers.Conv2D(6, 4, 3, "valid", groups=2, activation="hard_silu")),
        lambda: chain(layers.DepthwiseConv2D(3, 1, "same", depth_multiplier=2, activation="relu6")),
        lambda: chain(layers.DepthwiseConv2D(3, 2, "same", activation="elu")),
        lambda: chain(layers.ZeroPadding2D(((0, 2), (1, 0))), layers.Conv2D(3, 3, activation="tanh")),
        lambda: chain(layers.ZeroPadding2D(1), layers.ZeroPadding2D(1), layers.Activation("softplus")),
        lambda: chain(layers.ZeroPadding2D(1), layers.MaxPooling2D(3, 2)),  # of an input below zero
        lambda: chain(layers.ReLU(), layers.ZeroPadding2D(1), layers.MaxPooling2D(3, 2)),
        lambda: chain(layers.ZeroPadding2D(3), layers.AveragePooling2D(2, 2)),
        lambda: chain(layers.ZeroPadding2D(1), layers.AveragePooling2D(3, 2)),
        lambda: chain(layers.MaxPooling2D(3, 2, "same"), layers.Cropping2D(((1, 0), (0, 2)))),
        lambda: chain(layers.AveragePooling2D(2, 2, "same"), layers.Rescaling([1.0, 2.0, 3.0, 4.0], 0.5)),
        lambda: chain(layers.BatchNormalization(scale=False), layers.Activation("selu")),
        lambda: chain(layers.BatchNormalization(center=False), layers.Dropout(0.5), layers.Identity()),
        lambda: chain(layers.Flatten(), layers.Dense(5, use_bias=False), layers.Softmax()),
        lambda: chain(layers.GlobalMaxPooling2D(), layers.Dense(5, activation="exponential")),
        lambda: chain(layers.GlobalAveragePooling2D(keepdims=True), layers.Dense(5, activation="softsign")),
        lambda: chain(layers.Dense(3, activation="softmax"), layers.Activation("hard_sigmoid")),
        lambda: merged(layers.Add()),
        lambda: merged(layers.Multiply()),
        lambda: merged(layers.Subtract()),
        lambda: merged(layers.Average()),
        lambda: merged(layers.Concatenate()),
    ],
)
def test_the_rules_on_layers_alone(model):
    x = np.random.default_rng(0).normal(size=(2, 9, 11, 4)).astype(np.float32)
    assert_equal(model(), x)


def test_a_model_within_a_model():
    inner = small(classifier_activation=None)
    image = keras.Input((32, 32, 3))
    outer = keras.Model(image, layers.Dense(3, name="classifier")(inner(layers.Rescaling(0.5)(image))))
    assert_equal(outer, np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32))


def test_half_precision_halves_the_file_and_nothing_else():
    model = small(classifier_activation=None)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    whole, half = (write_onnx(model, model.input_shape, half=half)[0].ByteSize() for half in (False, True))
    assert half < 0.65 * whole
    assert relative(run(model, x, half=True)[0], answers(model, x)) < 2e-2


@keras.saving.register_keras_serializable(package="tests")
class Doubling(layers.Layer):
    def call(self, x):
        return 2 * x


@keras.saving.register_keras_serializable(package="tests")
class OddConvolution(layers.Conv2D):
    def call(self, x):
        return super().call(x) + 1


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: Doubling(name="twice"), r"'twice', a Doubling.*format='tf_saved_model'"),
        (lambda: OddConvolution(2, 1, name="odd"), "'odd', a OddConvolution"),
        (lambda: layers.Activation("log_softmax", name="log"), "activation of layer 'log'"),
        (lambda: layers.BatchNormalization(axis=1), "over the channels"),
        (lambda: layers.Softmax(axis=1), "last axis"),
        (lambda: layers.ReLU(6.0), "plain ReLU"),
        (lambda: layers.Permute((2, 1, 3), name="turn"), "'turn', a Permute"),
    ],
)
def test_what_no_rule_covers_is_named(layer, words):
    model = chain(layer())
    with pytest.raises(ValueError, match=words):
        write_onnx(model, model.input_shape)


def test_a_layer_that_is_called_twice_is_refused():
    image = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 1, name="shared")
    model = keras.Model(image, shared(shared(image)))
    with pytest.raises(ValueError, match=r"called once"):
        write_onnx(model, model.input_shape)

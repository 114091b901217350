"""Counts of small models, worked out by hand."""

import dataclasses

import keras
import pytest
from keras import layers

import senet
from senet.complexity import per_layer
from senet.layers import SqueezeExcite


def model_of(*parts, shape=(8, 6, 3), name="small"):
    inputs = x = keras.Input(shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x, name=name)


def test_counts_of_a_model_by_hand():
    model = model_of(
        layers.Conv2D(4, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        SqueezeExcite(2),
        layers.MaxPooling2D(2),
        layers.GlobalAveragePooling2D(),
        layers.Dense(5),
    )
    convolution = 8 * 6 * 4 * (3 * 3 * 3)
    squeeze, excitation = 8 * 6 * 4, 4 * 2 + 2 * 4
    assert dataclasses.asdict(senet.complexity(model)) == {
        "image_shape": (8, 6, 3),
        "trainable_parameters": 3 * 3 * 3 * 4 + 2 * 4 + (4 * 2 + 2) + (2 * 4 + 4) + (4 * 5 + 5),
        "total_parameters": 108 + 4 * 4 + 22 + 25,  # with the moving mean and variance
        "multiply_adds": convolution + squeeze + excitation + 4 * 5,
        "activations": 8 * 6 * 4,
    }


@pytest.mark.parametrize(
    ("build", "multiply_adds", "activations"),
    [
        (lambda: layers.Conv2D(8, 1), 8 * 6 * 8 * 4, 8 * 6 * 8),
        (lambda: layers.Conv2D(8, (3, 1), strides=2, padding="same"), 4 * 3 * 8 * (3 * 4), 4 * 3 * 8),
        (lambda: layers.Conv2D(8, 3, groups=2), 6 * 4 * 8 * (9 * 2), 6 * 4 * 8),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), 6 * 4 * 8 * 9, 6 * 4 * 8),
        (lambda: layers.Dense(5), 8 * 6 * 4 * 5, 0),
        (lambda: SqueezeExcite(2), 8 * 6 * 4 + 2 * (4 * 2), 0),
        (lambda: SqueezeExcite(2, squeeze="max"), 8 * 6 * 4 + 2 * (4 * 2), 0),
        (lambda: SqueezeExcite(2, squeeze="none"), 8 * 6 * 2 * (4 * 2), 0),
        (lambda: SqueezeExcite(16, divisor=8), 8 * 6 * 4 + 2 * (4 * 8), 0),
        (lambda: layers.BatchNormalization(), 0, 0),
        (lambda: layers.ZeroPadding2D(1), 0, 0),
        (lambda: layers.AveragePooling2D(2), 0, 0),
    ],
)
def test_counts_of_one_layer(build, multiply_adds, activations):
    layer = build()
    counts = senet.complexity(model_of(layer, shape=(8, 6, 4)))
    assert (counts.multiply_adds, counts.activations) == (multiply_adds, activations)
    assert counts.total_parameters == layer.count_params()


def test_sum_costs_one_addition_a_further_input():
    inputs = keras.Input((8, 6, 3))
    model = keras.Model(inputs, layers.Add()([inputs, layers.ReLU()(inputs), layers.Softmax()(inputs)]))
    assert senet.complexity(model).multiply_adds == 2 * 8 * 6 * 3


def test_rows_are_the_layers_in_order():
    model = model_of(
        layers.Conv2D(4, 3, name="conv"), layers.GlobalAveragePooling2D(name="pool"), layers.Dense(5)
    )
    rows = per_layer(model, (8, 6, 3))
    assert [(row.name, row.output_shape) for row in rows[:2]] == [("conv", (6, 4, 4)), ("pool", (4,))]
    assert [row.parameters for row in rows] == [112, 0, 25]
    assert sum(row.multiply_adds for row in rows) == senet.complexity(model).multiply_adds


@pytest.mark.parametrize(
    ("name", "image_size", "shape"),
    [
        ("small", None, (224, 224, 3)),
        ("se_resnet_20_cifar", None, (32, 32, 3)),
        ("se_resnet_20_cifar", 64, (64, 64, 3)),
        ("inception_resnet_v2", None, (299, 299, 3)),
        ("small", (33, 47), (33, 47, 3)),
    ],
)
def test_open_sizes(name, image_size, shape):
    counts = senet.complexity(model_of(layers.Conv2D(4, 1), shape=(None, None, 3), name=name), image_size)
    assert counts.image_shape == shape
    assert counts.multiply_adds == shape[0] * shape[1] * 12


def test_half_open_size():
    model = model_of(layers.Conv2D(4, 1), shape=(8, None, 3))
    assert senet.complexity(model).image_shape == (8, 224, 3)
    assert senet.complexity(model, (8, 10)).multiply_adds == 8 * 10 * 12


def test_fixed_size_is_kept():
    model = model_of(layers.Conv2D(4, 1))
    assert senet.complexity(model) == senet.complexity(model, (8, 6))
    with pytest.raises(ValueError, match=r"built for, \(8, 6\)\. Received: 8"):
        senet.complexity(model, 8)


def test_counting_leaves_the_model_as_it_was():
    model = senet.create_model("se_resnet_20_cifar", blocks=(1, 1, 1))
    before = model.to_json()
    assert senet.complexity(model) == senet.complexity(model)
    assert model.to_json() == before


def test_open_and_fixed_network_cost_the_same():
    counts = [
        senet.complexity(senet.create_model("se_resnet_18", input_shape=s), 97) for s in (None, (97, 97, 3))
    ]
    assert counts[0] == counts[1]
    assert counts[0].image_shape == (97, 97, 3)


@pytest.mark.parametrize("shape", [(8, 6, 3), (None, None, 3)])
@pytest.mark.parametrize("sequential", [True, False])
def test_nested_model(sequential, shape):
    parts = [layers.Conv2D(4, 3, padding="same"), layers.ReLU()]
    inner = (
        keras.Sequential([keras.Input((None, None, 3)), *parts])
        if sequential
        else model_of(*parts, shape=shape)
    )
    counts = senet.complexity(model_of(layers.Conv2D(3, 1), inner, layers.Conv2D(2, 1), shape=shape), (8, 6))
    assert counts.multiply_adds == 8 * 6 * (3 * 3 + 27 * 4 + 4 * 2)
    assert counts.activations == 8 * 6 * (3 + 4 + 2)
    assert counts.trainable_parameters == 12 + 112 + 10


def test_sequential_model():
    model = keras.Sequential([keras.Input((8, 6, 3)), layers.Conv2D(4, 1), layers.Flatten(), layers.Dense(2)])
    assert senet.complexity(model).multiply_adds == 8 * 6 * 12 + 8 * 6 * 4 * 2


@pytest.mark.parametrize(
    "operation",
    [
        lambda x, y: x + y,
        lambda x, y: 1.0 - y * 2.0,
        lambda x, y: keras.ops.concatenate([x, y], axis=-1),
        lambda x, y: keras.ops.split(y, 3, axis=-1),
        lambda x, y: y[:, ::2],
        lambda x, y: keras.ops.mean(keras.ops.relu(y), axis=(1, 2)),
    ],
)
def test_bare_operations_cost_nothing(operation):
    inputs = keras.Input((8, 6, 3))
    model = keras.Model(inputs, operation(inputs, layers.Conv2D(3, 1)(inputs)))
    assert senet.complexity(model).multiply_adds == 8 * 6 * 9


def test_bare_operations_in_a_model_of_open_size():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 1)(inputs + layers.Conv2D(3, 1)(inputs))
    assert senet.complexity(keras.Model(inputs, x), (8, 6)).multiply_adds == 8 * 6 * (9 + 12)

    x = layers.Conv2D(4, 1)(inputs * 2.0)
    with pytest.raises(
        ValueError, match=r"bare Multiply operation.*build the model with a fixed input shape"
    ):
        senet.complexity(keras.Model(inputs, x), (8, 6))


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    "build", [Subclassed, lambda: keras.Sequential([layers.Dense(2)]), lambda: layers.Dense(2)]
)
def test_models_without_a_graph_are_refused(build):
    with pytest.raises(ValueError, match=r"must be a functional keras\.Model\. Received: \w+\."):
        senet.complexity(build())


def test_several_inputs_are_refused():
    inputs = [keras.Input((8, 6, 3)), keras.Input((8, 6, 3))]
    with pytest.raises(ValueError, match=r"must have one input\. Received: 2 inputs"):
        senet.complexity(keras.Model(inputs, layers.Add()(inputs)))


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"must take \(N, H, W, C\) images\. Received: \(None, 8\) inputs"):
        senet.complexity(model_of(layers.Dense(2), shape=(8,)))


def test_a_layer_without_rule_is_refused():
    with pytest.raises(
        ValueError, match=r"No rule counts .* layer 'mine', a Conv2DTranspose\. Rules exist for .*Dense"
    ):
        senet.complexity(model_of(layers.Conv2DTranspose(2, 3, name="mine")))


@pytest.mark.parametrize("after", [[], [layers.ReLU]])
def test_a_layer_that_runs_twice_is_refused(after):
    """Its second run would be left out of the sum."""
    convolution = layers.Conv2D(3, 1)
    with pytest.raises(ValueError, match="calls a layer more than once"):
        senet.complexity(model_of(convolution, convolution, *(kind() for kind in after)))

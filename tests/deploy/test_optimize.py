"""An optimised network answers as the one it comes from, and shares nothing with it."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

import senet
from senet.deploy.optimize import optimize_for_inference, optimized
from senet.layers.fused import ScaledSum, ScaleShift
from tests.models import representatives as tables
from tests.models.graph import producers
from tests.models.step import to_numpy
from tests.models.test_engines import as_after_training

TOLERANCE = 1e-5  # largest difference of the logits over the largest logit, float32
ESSENTIAL = (
    "se_resnet_50",
    "se_preact_resnet_164_cifar",
    "se_shufflenet_g3",
    "se_shake_even_29_2x4x64d_cifar",
)
ENGINE = keras.backend.backend()


def trained(name, seed=0, **arguments):
    """The shallow network as after some training, and two images."""
    keras.utils.set_random_seed(seed)
    network, rng = (
        tables.build(name, **{"classifier_activation": None, **arguments}),
        np.random.default_rng(seed),
    )
    side = network.input_shape[1:3] if None not in network.input_shape[1:3] else tables.side(name)
    as_after_training(network, side, rng)
    return network, rng.normal(size=(2, *side, 3)).astype(np.float32)


def randomise(model, seed=0):
    """Values for a model of a test that leave nothing at 0 or 1."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        low = 0.5 if variable.name in ("moving_variance", "gamma") else -0.5
        if "seed" not in variable.path:
            variable.assign(rng.uniform(low, low + 1, variable.shape))
    return model


def difference(ours, theirs) -> float:
    ours, theirs = to_numpy(ours), to_numpy(theirs)
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def check(model, x, tolerance=TOLERANCE):
    """The optimised model and its summary; it answers as `model`, which stays as it is."""
    before, answer = model.get_weights(), model(x)
    new, summary = optimized(model)
    assert difference(new(x), answer) <= tolerance
    assert difference(model(x), answer) == 0
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(model.get_weights(), before, strict=True))
    own = {id(variable) for variable in model.variables} | {id(layer) for layer in model.layers}
    assert not own & ({id(variable) for variable in new.variables} | {id(layer) for layer in new.layers})
    if not isinstance(model, keras.Sequential):
        assert input_names(new) == input_names(model)
        assert new.output_names == model.output_names
    assert new.name == model.name
    return new, summary


def input_names(model) -> list[str]:
    return [layer.name for layer in model.operations if isinstance(layer, layers.InputLayer)]


def kinds(model) -> set[type]:
    return {type(layer) for layer in model.layers}


def image(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


# The networks of this package


@pytest.mark.engine
@pytest.mark.parametrize("name", ESSENTIAL)
def test_essential_networks_answer_the_same(name):
    new, _ = check(*trained(name))
    gone = {
        senet.layers.BatchNorm,
        layers.BatchNormalization,
        layers.Dropout,
        senet.layers.SqueezeExcite,
        senet.layers.Shake,
    }
    assert not kinds(new) & gone


@pytest.mark.slow
@pytest.mark.parametrize("name", tables.NAMES)
def test_every_network_answers_the_same(name):
    network, x = trained(name)
    new, _ = check(network, x, tolerance=1e-4)
    assert difference(keras.models.clone_model(new)(x), new(x)) > 0  # the logits depend on the weights
    if ENGINE == "jax":  # which has no float64 unless it is asked for when the process starts
        return
    keras.config.set_dtype_policy("float64")
    exact = tables.build(name, classifier_activation=None)
    exact.set_weights(network.get_weights())
    answer = exact(x.astype(np.float64))
    # In float64 both are the same network (the squeeze is in float32 there too). In float32 each has its own
    # rounding, and in the deepest networks that of the original is above the tolerance already.
    assert difference(optimize_for_inference(exact)(x.astype(np.float64)), answer) <= 1e-6
    assert difference(new(x), answer) <= max(TOLERANCE, 1.5 * difference(network(x), answer))


def test_a_bottleneck_network_is_the_one_that_is_meant():
    new, summary = check(*trained("se_resnet_50"))
    assert len(summary.folded_norms) == 20
    assert len(summary.early_squeezes) == len(summary.fused_sums) == 5
    read = producers(new)
    assert read["stage2_block1_act"] == [
        "stage2_block1_expand_conv",
        "stage2_block1_se_expand",
        "stage2_block1_shortcut_conv",
    ]
    assert read["stage2_block1_se_expand"] == ["stage2_block1_se_reduce"]
    assert read["stage2_block1_se_reduce"] == ["stage2_block1_se_squeeze"]
    assert (
        read["stage2_block1_se_squeeze"] == read["stage2_block1_expand_conv"] == ["stage2_block1_spatial_act"]
    )
    assert new.get_layer("stage2_block1_se_reduce").kernel.shape == (128, 32)
    # What is left of the parameters: kernels, a bias for every convolution, and smaller dense layers.
    assert kinds(new) == {
        layers.InputLayer,
        layers.Conv2D,
        layers.Dense,
        layers.Activation,
        layers.ZeroPadding2D,
        layers.MaxPooling2D,
        layers.GlobalAveragePooling2D,
        ScaledSum,
    }


PREACT = "se_preact_resnet_164_cifar"


@pytest.mark.parametrize(
    ("name", "position"),
    [
        *(("se_resnet_164_cifar", "identity"), ("se_resnet_164_cifar", "3x3"), (PREACT, "pre")),
        *(pytest.param("se_resnet_164_cifar", each, marks=pytest.mark.slow) for each in ("pre", "post")),
        *(pytest.param(PREACT, each, marks=pytest.mark.slow) for each in ("post", "identity", "3x3")),
    ],
)
def test_every_position(name, position):
    spec = senet.SESpec(ratio=2, position=position)
    _, summary = check(*trained(name, se=spec))
    assert len(summary.early_squeezes) + len(summary.other_squeezes) == 4


@pytest.mark.parametrize(
    ("squeeze", "gate", "bias"), [("max", "tanh", True), ("none", "relu", False), ("avg", "sigmoid", False)]
)
def test_every_kind_of_block(squeeze, gate, bias):
    spec = senet.SESpec(ratio=2, squeeze=squeeze, gate=gate, bias=bias)
    new, summary = check(*trained("se_resnet_164_cifar", se=spec))
    assert senet.layers.SqueezeExcite not in kinds(new)
    assert len(summary.early_squeezes) == (4 if squeeze == "avg" else 0)
    assert len(summary.fused_sums) == (0 if squeeze == "none" else 4)  # gates for every position


def test_the_layers_of_training_are_gone():
    network, x = trained("se_resnet_164_cifar", dropout=0.5, drop_path=0.5)
    new, summary = check(network, x)
    assert len(summary.dropped) == 4
    assert difference(new(x, training=True), new(x)) == 0


def test_a_plain_network_is_folded_too():
    _, summary = check(*trained("resnet_20_cifar"))
    assert summary.folded_norms
    assert not summary.early_squeezes


@pytest.mark.parametrize(
    "arguments",
    [
        {"include_top": False},
        pytest.param({"include_top": False, "pooling": "max"}, marks=pytest.mark.slow),
        pytest.param({"classifier_activation": "softmax"}, marks=pytest.mark.slow),
        pytest.param({"input_shape": (16, 24, 3)}, marks=pytest.mark.slow),
        {"stride_on": "3x3", "input_shape": (15, 17, 3)},
    ],
)
def test_every_end_and_size(arguments):
    network, _ = trained("se_resnet_164_cifar", **arguments)
    height, width, _ = network.input_shape[1:]
    new, _ = check(network, image(2, height or 12, width or 9, 3))
    assert new.input_shape == network.input_shape
    assert new.output_shape == network.output_shape


def test_a_pyramid_keeps_its_names():
    keras.utils.set_random_seed(0)
    network = senet.create_model("se_resnet_164_cifar", features_only=True, blocks=(1, 1, 1))
    as_after_training(network, (16, 16), np.random.default_rng(0))
    x = image(2, 16, 16, 3)
    ours, theirs = optimize_for_inference(network)(x), network(x)
    assert list(ours) == list(theirs) == ["stride_1", "stride_2", "stride_4"]
    assert max(difference(ours[name], theirs[name]) for name in ours) <= TOLERANCE


def test_a_network_upon_other_layers():
    inputs = keras.Input((16, 16, 3), name="picture")
    scaled = layers.Rescaling(2.0, name="scaled")(inputs)
    network = senet.create_model("se_resnet_20_cifar", input_tensor=scaled, blocks=(1, 1, 1))
    as_after_training(network, (16, 16), np.random.default_rng(0))
    new, _ = check(network, image(2, 16, 16, 3))
    assert "scaled" in {layer.name for layer in new.layers}


def test_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    network = senet.create_model("se_preact_resnet_164_cifar", blocks=(1, 1, 1), input_shape=(16, 16, 3))
    randomise(network)
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D):
            layer.kernel.assign(layer.kernel / np.sqrt(np.prod(layer.kernel.shape[:3])))
    keras.config.set_dtype_policy("float32")  # the layers keep the policy that they were made with
    new, _ = check(network, image(2, 16, 16, 3), tolerance=0.02)
    assert new.get_layer("stage1_block1_reduce_conv").compute_dtype == "float16"
    assert new.get_layer("stage1_block1_se_squeeze").compute_dtype == "float32"
    assert new.get_layer("predictions").dtype == "float32"


@pytest.mark.parametrize("size", [(32, 32), (33, 33), (32, 33)])
def test_known_sizes_need_no_padding_layers(size):
    inputs = keras.Input((*size, 3))
    pooled = layers.ZeroPadding2D(((0, 1), (0, 1)))(layers.ReLU()(inputs))
    pooled = layers.MaxPooling2D(3, 2)(pooled)
    padded = layers.ZeroPadding2D(1)(inputs)
    convolved = layers.Conv2D(2, 3, 2)(padded)
    signed = layers.MaxPooling2D(3, 2)(padded)
    model = keras.Model(inputs, [pooled, convolved, signed])
    new, summary = optimized(model)
    x = image(2, *size, 3)
    assert max(map(difference, new(x), model(x))) <= 1e-6
    # "same" pads an even side on the far edge alone, as Caffe's pool does, and an odd one on both.
    assert len(summary.folded_paddings) == {(32, 32): 1, (33, 33): 1, (32, 33): 0}[size]


def test_the_counts_are_those_of_the_network():
    network = tables.build("se_resnet_164_cifar", input_shape=(32, 32, 3))
    ours, theirs = senet.complexity(optimize_for_inference(network)), senet.complexity(network)
    assert ours.activations == theirs.activations
    assert 0.95 < ours.multiply_adds / theirs.multiply_adds < 1
    assert ours.total_parameters < theirs.total_parameters


def test_a_second_time_changes_nothing():
    network, x = trained("se_preact_resnet_164_cifar")
    once = optimize_for_inference(network)
    twice, summary = check(once, x, 1e-6)
    assert summary == type(summary)()
    assert [layer.name for layer in twice.layers] == [layer.name for layer in once.layers]


def test_what_belongs_to_the_weights_goes_along():
    network, _ = trained("se_resnet_20_cifar")
    assert not hasattr(optimize_for_inference(network), "preprocess")
    network.preprocess = senet.data.Preprocess(resize=32, crop=32, mean=(0, 0, 0), std=(1, 1, 1))
    assert optimize_for_inference(network).preprocess is network.preprocess


def test_a_saved_one_loads(tmp_path):
    network, x = trained("se_preact_resnet_164_cifar")
    new = optimize_for_inference(network)
    new.save(tmp_path / "fast.keras")
    assert difference(keras.saving.load_model(tmp_path / "fast.keras", safe_mode=True)(x), new(x)) <= 1e-6


@pytest.mark.slow
def test_a_saved_one_loads_in_another_process(tmp_path):
    network, x = trained("se_preact_resnet_164_cifar")
    new = optimize_for_inference(network)
    new.save(tmp_path / "fast.keras")
    np.save(tmp_path / "x.npy", x)
    child = (
        "import sys, senet, keras, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1] + '/fast.keras', safe_mode=True)\n"
        "answer = keras.ops.convert_to_numpy(model(np.load(sys.argv[1] + '/x.npy')))\n"
        "np.save(sys.argv[1] + '/answer.npy', answer)\n"
    )
    subprocess.run([sys.executable, "-c", child, str(tmp_path)], check=True)
    assert difference(np.load(tmp_path / "answer.npy"), new(x)) <= 1e-6


# Models of others


def small(*stack, shape=(6, 5, 4)):
    """A functional model of layers one behind another."""
    x = inputs = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return randomise(keras.Model(inputs, x))


@pytest.mark.parametrize(
    ("layer", "folds"),
    [
        (lambda: layers.Conv2D(3, 2, use_bias=True), True),
        (lambda: layers.Conv2D(4, 2, groups=2, use_bias=False), True),
        (lambda: senet.layers.GroupedConv2D(4, 3, groups=2), True),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), True),
        (lambda: layers.Dense(3), True),
        (lambda: layers.Conv2D(3, 2, activation="relu"), False),
        (lambda: layers.Conv2DTranspose(3, 2), False),
        (lambda: layers.SeparableConv2D(3, 2), False),
        (lambda: layers.AveragePooling2D(2), False),
    ],
)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False, "epsilon": 0.1}])
def test_batchnorm_behind_every_layer(layer, folds, options):
    model = small(layer(), layers.BatchNormalization(name="norm", **options), layers.ReLU(name="relu"))
    new, summary = check(model, image(2, 6, 5, 4))
    assert summary.folded_norms == (("norm",) if folds else ())
    assert summary.kept_norms == (() if folds else ("norm",))
    assert layers.BatchNormalization not in kinds(new)
    assert (ScaleShift in kinds(new)) is not folds


def test_a_subclass_is_not_taken_for_its_class():
    class Doubled(layers.Conv2D):
        def call(self, inputs):
            return ops.square(super().call(inputs))

    new, summary = check(small(Doubled(3, 2), layers.BatchNormalization()), image(2, 6, 5, 4))
    assert not summary.folded_norms
    assert Doubled in kinds(new)


@pytest.mark.parametrize("norm", [layers.BatchNormalization(axis=1), layers.BatchNormalization(axis=2)])
def test_batchnorm_of_another_axis_stays(norm):
    _, summary = check(small(layers.Conv2D(3, 1), norm), image(2, 6, 5, 4))
    assert not summary.folded_norms + summary.kept_norms


def test_two_batchnorms_and_a_constant_fold_into_one_convolution():
    stack = (layers.Conv2D(3, 2), layers.BatchNormalization(), layers.BatchNormalization())
    new, summary = check(small(*stack, layers.Rescaling(0.3, offset=2)), image(2, 6, 5, 4))
    assert kinds(new) == {layers.InputLayer, layers.Conv2D}
    assert len(summary.folded_norms) == 2
    assert len(summary.folded_scales) == 1


def test_batchnorm_folds_through_a_concatenation():
    inputs = keras.Input((6, 5, 4))
    parts = [layers.Conv2D(2, 1)(inputs), layers.Conv2D(3, 1, use_bias=False)(inputs)]
    norm = layers.BatchNormalization()(layers.Concatenate()(parts))
    model = randomise(keras.Model(inputs, layers.ReLU()(norm)))
    assert len(check(model, image(2, 6, 5, 4))[1].folded_norms) == 1


def test_a_convolution_that_others_read_is_not_changed():
    inputs = keras.Input((6, 5, 4))
    x = layers.Conv2D(3, 1)(inputs)
    model = keras.Model(inputs, [x, layers.BatchNormalization()(x)])
    ours, theirs = optimize_for_inference(randomise(model))(image(2, 6, 5, 4)), model(image(2, 6, 5, 4))
    assert max(map(difference, ours, theirs)) <= TOLERANCE


def test_shared_layers_stay_shared():
    inputs = keras.Input((6, 5, 4))
    conv, norm, se = layers.Conv2D(4, 1), layers.BatchNormalization(), senet.layers.SqueezeExcite(2)
    x = inputs
    for _ in range(3):
        x = se(norm(conv(x)))
    x = layers.BatchNormalization(name="own")(x)
    new, summary = check(randomise(keras.Model(inputs, x)), image(2, 6, 5, 4))
    assert summary.kept_norms == ("own",)
    assert [type(layer) for layer in new.layers].count(layers.Conv2D) == 1


def test_what_is_called_for_training_stays():
    inputs = keras.Input((6, 5, 4))
    x = layers.BatchNormalization()(layers.Conv2D(4, 1)(inputs), training=True)
    x = layers.Dropout(0.5, seed=3)(x, training=True)
    model = randomise(keras.Model(inputs, x))
    new, summary = optimized(model)
    assert summary == type(summary)()
    assert float(np.mean(to_numpy(new(image(8, 6, 5, 4))) == 0)) > 0.2


@pytest.mark.parametrize("act", [None, "relu"])
@pytest.mark.parametrize("join", [layers.Concatenate, layers.Add])
def test_the_squeeze_goes_through_sums_and_concatenations(join, act):
    inputs = keras.Input((6, 5, 2))
    x = layers.ReLU()(inputs)
    parts = [layers.Conv2D(8, 1, activation=act)(x), layers.Conv2D(8, 1)(layers.ReLU()(inputs))]
    joined = join()([*parts, layers.Conv2D(8, 1, groups=2)(x)])
    model = randomise(keras.Model(inputs, senet.layers.SqueezeExcite(4)(joined)))
    _, summary = check(model, image(2, 6, 5, 2))
    # An activation is not linear: its 8 channels are read, and 4 of the others'. As many as a sum has are too
    # many, those of a concatenation are 24.
    assert len(summary.early_squeezes) == (0 if act and join is layers.Add else 1)


@pytest.mark.parametrize("conv", [{"strides": 2}, {"kernel_size": 3}, {"activation": "relu"}])
def test_other_convolutions_keep_the_squeeze_behind_them(conv):
    conv = layers.Conv2D(**{"filters": 8, "kernel_size": 1, **conv})
    _, summary = check(small(conv, senet.layers.SqueezeExcite(2)), image(2, 6, 5, 4))
    assert not summary.early_squeezes
    assert len(summary.other_squeezes) == 1


def test_a_sum_that_broadcasts_is_left_alone():
    inputs = keras.Input((6, 5, 4))
    x = senet.layers.SqueezeExcite(2)(layers.Conv2D(8, 1)(inputs))
    mean = layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(8, 1)(inputs))
    _, summary = check(randomise(keras.Model(inputs, layers.Add()([x, mean]))), image(2, 6, 5, 4))
    assert not summary.fused_sums


def test_bare_operations_and_several_inputs():
    left, right = keras.Input((6, 5, 4), name="left"), keras.Input((6, 5, 4), name="right")
    x = layers.BatchNormalization()(layers.Conv2D(4, 1)(left)) * 2.0 + right
    x = ops.concatenate([x[:, :3], ops.relu(x[:, 3:])], axis=1)
    model = randomise(
        keras.Model({"right": right, "left": left}, {"sum": x, "mean": ops.mean(x, axis=(1, 2))})
    )
    data = {"left": image(2, 6, 5, 4), "right": image(2, 6, 5, 4) + 1}
    ours, theirs = optimize_for_inference(model)(data), model(data)
    assert list(ours) == ["sum", "mean"]
    assert max(difference(ours[name], theirs[name]) for name in ours) <= TOLERANCE


def test_nested_models_are_optimised_where_they_are():
    part = keras.Sequential(
        [keras.Input((None, None, 4)), layers.Conv2D(8, 1), layers.BatchNormalization(name="norm")],
        name="part",
    )
    inner = small(layers.Conv2D(8, 1), senet.layers.SqueezeExcite(2, name="se"), shape=(None, None, 8))
    x = inputs = keras.Input((6, 5, 4))
    for layer in (part, inner, layers.ReLU(), inner):
        x = layer(x)
    new, summary = check(randomise(keras.Model(inputs, x)), image(2, 6, 5, 4))
    assert summary.folded_norms == ("part/norm",)
    assert summary.early_squeezes == (f"{inner.name}/se",)
    assert [layer.name for layer in new.layers].count(inner.name) == 1


def test_a_sequential_model():
    model = keras.Sequential([keras.Input((6, 5, 4)), layers.Conv2D(8, 2), layers.BatchNormalization()])
    assert len(check(randomise(model), image(2, 6, 5, 4))[1].folded_norms) == 1


@pytest.mark.parametrize("registered", [True, False])
def test_layers_of_others_are_copied(registered):
    class Power(layers.Layer):
        def __init__(self, exponent=2, **kwargs):
            super().__init__(**kwargs)
            self.exponent = exponent

        def build(self, shape):
            self.factor = self.add_weight(shape=(shape[-1],), name="factor")

        def call(self, x):
            return self.factor * x**self.exponent

        def get_config(self):
            return {**super().get_config(), "exponent": self.exponent}

    if registered:
        keras.saving.register_keras_serializable(package="tests_optimize")(Power)
    model = small(Power(3), layers.Conv2D(4, 1), layers.BatchNormalization())
    new, summary = check(model, image(2, 6, 5, 4))
    assert Power in kinds(new)
    assert len(summary.folded_norms) == 1


def test_one_does_not_follow_when_the_other_changes():
    network, x = trained("se_resnet_20_cifar")
    new = optimize_for_inference(network)
    answer = to_numpy(new(x))
    for variable in network.variables:
        variable.assign(variable * 0)
    np.testing.assert_array_equal(to_numpy(new(x)), answer)


# Bad input


def test_anything_but_a_functional_model_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    for model in (None, layers.Conv2D(2, 1), keras.Sequential([layers.Dense(2)]), Own()):
        with pytest.raises(ValueError, match="must be a functional keras"):
            optimize_for_inference(model)


def test_a_model_with_a_call_of_its_own_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return 2 * super().call(x)

    inputs = keras.Input((3,))
    model = Own(inputs, layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match="with a `call` of its own"):
        optimize_for_inference(model)


def test_a_model_with_a_step_of_its_own_is_a_plain_one():
    class Own(keras.Model):
        def train_step(self, data):
            return {}

    inputs = keras.Input((6, 5, 4), name="image")
    x = layers.BatchNormalization()(layers.Conv2D(2, 1)(inputs))
    new = optimize_for_inference(randomise(Own({"image": inputs}, {"x": x})))
    assert list(new({"image": image(2, 6, 5, 4)})) == ["x"]


def test_a_layer_that_cannot_be_copied_is_named():
    class Scaled(layers.Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x):
            return self.factor * x

        def get_config(self):
            return super().get_config()  # forgets the factor

    model = small(Scaled(ops.ones(()), name="scaled"), layers.Conv2D(2, 1))
    answer = to_numpy(model(image(2, 6, 5, 4)))
    with pytest.raises(ValueError, match="Layer 'scaled', a Scaled, cannot be copied"):
        optimize_for_inference(model)
    np.testing.assert_array_equal(to_numpy(model(image(2, 6, 5, 4))), answer)


def test_a_copy_with_other_variables_is_refused():
    class Forgetful(layers.Layer):
        def __init__(self, units=2, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

        def call(self, x):
            return ops.sum(x @ self.kernel, axis=-1)

        def get_config(self):
            return super().get_config()

    with pytest.raises(ValueError, match="its copy has other variables"):
        optimize_for_inference(small(Forgetful(3)))


# Pixels that nobody reads


def test_strides_move_up_to_the_last_block_of_a_stage():
    lifted = {
        name: optimized(senet.create_model(name, input_shape=(64, 64, 3)))[1].lifted_strides
        for name in ("se_resnet_50", "resnet_50", "se_resnet_50b")
    }
    last = ("stage3_block6", "stage2_block4", "stage1_block3")
    assert lifted["se_resnet_50"] == tuple(f"{block}_expand_conv" for block in last)
    # Without SE nothing reads the rest of what the 3×3 convolution makes either.
    both = [(f"{block}_expand_conv", f"{block}_spatial_conv") for block in last]
    assert lifted["resnet_50"] == tuple(name for pair in both for name in pair)
    assert lifted["se_resnet_50b"] == ()  # the stride is on the 3×3 convolution, which reads every pixel


def test_less_is_multiplied():
    network = senet.create_model("se_resnet_50", input_shape=(224, 224, 3))
    new, before = senet.complexity(optimize_for_inference(network)), senet.complexity(network)
    # Three quarters of three 1×1 convolutions; in each stage it makes as many products.
    saved = 3 * 56 * 56 * 64 * 256 * 3 // 4
    assert abs(before.multiply_adds - new.multiply_adds - saved) <= 0.002 * before.multiply_adds


def test_what_leaves_the_model_stays_whole():
    network = senet.create_model("se_resnet_50", features_only=True, input_shape=(64, 64, 3))
    assert optimized(network)[1].lifted_strides == ()


@pytest.mark.engine
@pytest.mark.parametrize("size", [(16, 16), (17, 15), (None, None)])
@pytest.mark.parametrize(("kernel", "padding"), [(1, "valid"), (3, "same"), (3, "valid"), (2, "same")])
def test_a_stride_moves_through_a_block(size, kernel, padding):
    inputs = keras.Input((*size, 4))
    x = layers.Conv2D(8, 1)(inputs)
    y = layers.Conv2D(8, kernel, padding=padding, activation="relu", name="first")(x)
    y = layers.Conv2D(8, 1, name="second")(y)
    if padding == "same" or kernel == 1:
        y = layers.Add()([y, x])
    y = layers.Activation("relu")(y)
    ends = [layers.Conv2D(3, 1, 2)(y), layers.Conv2D(5, 1, 2, "same")(y)]
    model = randomise(keras.Model(inputs, ends))
    new, summary = optimized(model)
    assert set(summary.lifted_strides) >= {"second", "first"}
    x = image(2, *(side or 13 for side in size), 4)
    assert max(map(difference, new(x), model(x))) <= 1e-6


@pytest.mark.parametrize(
    "readers",
    [
        lambda x: [layers.Conv2D(3, 1, 2)(x), layers.GlobalAveragePooling2D()(x)],
        lambda x: [layers.Conv2D(3, 1, 2)(x), layers.Conv2D(3, 1, 3)(x)],
        lambda x: [layers.Conv2D(3, 1, 2)(x), layers.Conv2D(3, 3, 2)(x)],
        lambda x: [layers.Conv2D(3, 1, 2)(x), x],
        lambda x: [layers.Conv2D(3, 2, 2)(x)],
    ],
)
def test_a_map_that_others_read_stays_whole(readers):
    inputs = keras.Input((12, 12, 4))
    model = randomise(keras.Model(inputs, readers(layers.Conv2D(8, 1)(inputs))))
    new, summary = optimized(model)
    assert summary.lifted_strides == ()
    x = image(2, 12, 12, 4)
    assert max(map(difference, flat_list(new(x)), flat_list(model(x)))) <= 1e-6


def flat_list(outputs) -> list:
    return outputs if isinstance(outputs, list) else [outputs]


def test_strides_multiply_and_go_on_upwards():
    inputs = keras.Input((24, 24, 4))
    x = layers.Conv2D(8, 3, 2, name="first")(inputs)  # (11, 11)
    x = layers.Conv2D(8, 1, 1, name="second")(x)
    model = randomise(keras.Model(inputs, layers.Conv2D(8, 1, 3)(x)))
    new, summary = optimized(model)
    assert summary.lifted_strides == ("second", "first")
    assert new.get_layer("first").strides == (6, 6)
    x = image(2, 24, 24, 4)
    assert difference(new(x), model(x)) <= 1e-6


def test_a_convolution_with_holes_stays():
    inputs = keras.Input((24, 24, 4))
    x = layers.Conv2D(8, 3, dilation_rate=2, name="holes")(inputs)
    assert optimized(randomise(keras.Model(inputs, layers.Conv2D(8, 1, 2)(x))))[1].lifted_strides == ()

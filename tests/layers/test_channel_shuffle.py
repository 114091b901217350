"""The channel shuffle against its definition."""

import keras
import numpy as np
import pytest

from senet.layers.channel_shuffle import ChannelShuffle
from tests.models.step import to_numpy


@pytest.mark.engine
def test_channels_are_dealt_out_in_turn():
    inputs = keras.Input((None, None, 6))
    model = keras.Model(inputs, ChannelShuffle(3)(inputs))
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 6)).astype("float32")
    # Groups (0 1), (2 3), (4 5): first the first of each, then the second.
    np.testing.assert_array_equal(to_numpy(model(x)), x[..., [0, 2, 4, 1, 3, 5]])
    np.testing.assert_array_equal(model.predict(x, verbose=0), x[..., [0, 2, 4, 1, 3, 5]])


def test_shuffles_by_both_factors_undo_each_other():
    x = np.random.default_rng(0).normal(size=(1, 3, 3, 12)).astype("float32")
    shuffled = ChannelShuffle(3)(x)
    assert not np.array_equal(to_numpy(shuffled), x)
    np.testing.assert_array_equal(to_numpy(ChannelShuffle(4)(shuffled)), x)


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"a multiple of groups=4\. Received: input_shape=\(1, 3, 3, 6\)"):
        ChannelShuffle(4)(np.zeros((1, 3, 3, 6), "float32"))


@pytest.mark.parametrize("groups", [0, 1.0, True, "3"])
def test_groups_is_a_positive_integer(groups):
    with pytest.raises(ValueError, match=r"`groups` must be an integer of at least 1\. Received: groups="):
        ChannelShuffle(groups)


def test_configuration_survives():
    assert ChannelShuffle.from_config(ChannelShuffle(8, name="s").get_config()).groups == 8

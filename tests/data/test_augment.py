import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senet.data import Augment, DataConfig, Preprocess


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)


def one_by_one(images, rng, *, pad, flip, fill):
    """The same draws, applied to each image by itself in the plainest way."""
    count, height, width, channels = images.shape
    offsets = rng.integers(0, 2 * pad + 1, size=(2, count)) if pad else np.zeros((2, count), int)
    mirrored = rng.random(count) < 0.5 if flip else np.zeros(count, bool)
    results = []
    for image, down, right, mirror in zip(images, *offsets, mirrored, strict=True):
        canvas = np.empty((height + 2 * pad, width + 2 * pad, channels), np.uint8)
        canvas[:] = fill
        canvas[pad : pad + height, pad : pad + width] = image
        window = canvas[down : down + height, right : right + width]
        results.append(window[:, ::-1] if mirror else window)
    return np.stack(results)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 3])),
    pad=st.integers(0, 9),
    flip=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_it_does_what_a_plain_loop_does(shape, pad, flip, seed):
    images, fill = noise(*shape), (7, 8, 9)[: shape[-1]]
    augment = Augment(crop_padding=pad, flip=flip, fill=fill)
    expected = one_by_one(images, np.random.default_rng(seed), pad=pad, flip=flip, fill=fill)
    np.testing.assert_array_equal(augment(images, np.random.default_rng(seed)), expected)


def test_the_input_is_kept():
    for augment in (Augment(2, True), Augment(0, True), Augment(0, False)):
        images = noise(16, 6, 6, 3)
        before = images.copy()
        augment(images, np.random.default_rng(0))[:] = 0
        np.testing.assert_array_equal(images, before)


def test_all_offsets_and_both_sides_are_equally_likely():
    count, size, pad = 8100, 8, 4
    # Each pixel tells where it was, so that the corner of a result tells the offset and the side.
    place = np.arange(1, size * size + 1, dtype=np.uint8).reshape(1, size, size, 1)
    result = Augment(pad, True)(np.repeat(place, count, axis=0), np.random.default_rng(3))[..., 0].astype(int)
    difference = np.where((result[:, 4, 4] > 0) & (result[:, 4, 3] > 0), result[:, 4, 4] - result[:, 4, 3], 0)
    known = difference != 0
    assert set(np.unique(difference[known])) == {-1, 1}
    assert abs((difference[known] == 1).mean() - 0.5) < 0.03
    straight = result[difference == 1]
    down, right = np.divmod(straight[:, 4, 4] - 1, size)
    counts = np.bincount(down * size + right, minlength=64).reshape(8, 8)[:, 1:]
    assert counts.min() > 0.5 * counts.mean()
    assert counts.max() < 1.6 * counts.mean()


def test_padding_is_zero_after_normalisation():
    images = noise(64, 8, 8, 3)
    preprocess = Preprocess.of(images)
    augment = Augment.from_config(DataConfig(source="cifar10"), preprocess)
    black = np.zeros((64, 8, 8, 3), np.uint8)
    result = preprocess(augment(black, np.random.default_rng(0)))
    padding = result[result > preprocess(black[:1])[0, 0, 0].max() + 0.1]
    assert padding.size
    assert np.abs(padding).max() <= 0.5 / min(preprocess.std) + 1e-6


def test_config_decides():
    preprocess = Preprocess(mean=(77.8,), std=(95.0,))
    assert Augment.from_config(DataConfig(), preprocess) == Augment(1, False, (78,))
    assert Augment.from_config(DataConfig(source="cifar10"), preprocess) == Augment(4, True, (78,))
    assert Augment.from_config(DataConfig(crop_padding=0), preprocess) is None


@pytest.mark.parametrize("wrong", [{"crop_padding": -1}, {"fill": ()}, {"fill": (256,)}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augment(**wrong)


def test_other_images_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="uint8"):
        Augment()(noise(2, 8, 8, 3).astype(np.float32), rng)
    with pytest.raises(ValueError, match=r"`fill`.*1 channels"):
        Augment(fill=(1, 2, 3))(noise(2, 8, 8, 1), rng)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senet.data import Augment, CropAndFlip, DataConfig, Plan, Preprocess


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
    augment = CropAndFlip(crop_padding=pad, flip=flip, fill=fill)
    expected = one_by_one(images, np.random.default_rng(seed), pad=pad, flip=flip, fill=fill)
    np.testing.assert_array_equal(augment(images, np.random.default_rng(seed)), expected)


def test_only_without_padding_is_the_input_changed():
    images = noise(16, 6, 6, 3)
    before = images.copy()
    CropAndFlip(2, True)(images, np.random.default_rng(0))
    np.testing.assert_array_equal(images, before)
    assert CropAndFlip(0, True)(images, np.random.default_rng(0)) is images


def test_all_offsets_and_both_sides_are_equally_likely():
    count, size, pad = 8100, 8, 4
    # Each pixel tells where it was, so that the corner of a result tells the offset and the side.
    place = np.arange(1, size * size + 1, dtype=np.uint8).reshape(1, size, size, 1)
    result = CropAndFlip(pad, True)(np.repeat(place, count, axis=0), np.random.default_rng(3))[..., 0].astype(
        int
    )
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
    config = DataConfig(source="cifar10").resolved().augment
    augment = Augment.from_config(config, preprocess)
    black = np.zeros((64, 8, 8, 3), np.uint8)
    plan = Plan(64, 64)
    result = preprocess(augment(black, plan, plan.step(0)))
    padding = result[result > preprocess(black[:1])[0, 0, 0].max() + 0.1]
    assert padding.size
    assert np.abs(padding).max() <= 0.5 / min(preprocess.std) + 1e-6


def test_config_decides():
    preprocess = Preprocess(mean=(77.8,), std=(95.0,))

    def moves(config: DataConfig) -> CropAndFlip | None:
        return Augment.from_config(config.resolved().augment, preprocess).crop_and_flip

    assert moves(DataConfig()) == CropAndFlip(1, False, (78,))
    assert moves(DataConfig(source="cifar10")) == CropAndFlip(4, True, (78,))
    assert moves(DataConfig(augment={"padding": 0})) is None
    assert moves(DataConfig(augment={"crop": "none"})) is None
    assert moves(DataConfig(source="cifar10", augment={"crop": "random_resized"})) == CropAndFlip(
        0, True, (78,)
    )


def test_a_part_of_a_batch_gets_what_it_gets_in_the_whole():
    images = noise(12, 7, 6, 3)
    moves = CropAndFlip(2, True)
    whole = moves(images.copy(), np.random.default_rng(5))
    for part in (slice(0, 4), slice(4, 8), slice(8, 12)):
        np.testing.assert_array_equal(moves(images[part], np.random.default_rng(5), 12, part), whole[part])


@pytest.mark.parametrize("wrong", [{"crop_padding": -1}, {"fill": ()}, {"fill": (256,)}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CropAndFlip(**wrong)


def test_other_images_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="uint8"):
        CropAndFlip()(noise(2, 8, 8, 3).astype(np.float32), rng)
    with pytest.raises(ValueError, match=r"`fill`.*1 channels"):
        CropAndFlip(fill=(1, 2, 3))(noise(2, 8, 8, 1), rng)

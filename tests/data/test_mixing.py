import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senet.data.config import AugmentConfig
from senet.data.mixing import Mix, cutmix, mixup, one_hot

CLASSES = 5


def batch(rows: int = 6, side: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(rows, side, side, 3)).astype(np.float32), rng.integers(0, CLASSES, rows, np.int32)


def test_mixup_by_hand():
    images, labels = batch()
    mixed, soft = mixup(images, one_hot(labels, CLASSES), 0.25)
    np.testing.assert_allclose(mixed[2], 0.75 * images[2] + 0.25 * images[3], rtol=1e-6)
    np.testing.assert_allclose(mixed[3], 0.75 * images[3] + 0.25 * images[2], rtol=1e-6)
    expected = np.zeros(CLASSES)
    expected[labels[2]] += 0.75
    expected[labels[3]] += 0.25
    np.testing.assert_allclose(soft[2], expected)


@given(share=st.floats(0, 1), seed=st.integers(0, 300), side=st.integers(1, 9))
def test_cutmix_labels_are_the_shares_of_the_pixels(share, seed, side):
    images = np.broadcast_to(np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1), (4, side, side, 3))
    mixed, soft = cutmix(images, one_hot(np.arange(4), 4), share, np.random.default_rng(seed))
    for row in range(4):
        shares = [(mixed[row, ..., 0] == value).mean() for value in range(4)]
        np.testing.assert_allclose(soft[row], shares, atol=1e-6)
    # The window is a rectangle: as many pixels as its rows times its columns.
    taken = mixed[0, ..., 0] == 1
    assert taken.sum() == taken.any(1).sum() * taken.any(0).sum()


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_shares_sum_to_one_and_the_draw_decides(settings):
    mix = Mix.from_config(AugmentConfig(**settings), CLASSES)
    images, labels = batch()
    before = images.copy()
    (first, soft), (again, _) = (mix(images, labels, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    assert (first.dtype, soft.dtype, soft.shape) == (np.float32, np.float32, (6, CLASSES))


def test_so_many_batches_are_mixed_and_half_of_them_cut():
    mix = Mix.from_config(AugmentConfig(mixup=1.0, cutmix=1.0, mix_probability=0.6), 2)
    images, labels = np.zeros((2, 16, 16, 1), np.float32), np.arange(2)
    images[1] = 1
    kinds = []
    for seed in range(500):
        mixed, _ = mix(images, labels, np.random.default_rng(seed))
        inside = np.isin(mixed[0], (0, 1)).all()
        kinds.append("none" if np.array_equal(mixed, images) else "cut" if inside else "mixed")
    assert kinds.count("mixed") == pytest.approx(150, abs=35)
    assert kinds.count("cut") == pytest.approx(150, abs=40)


def test_nothing_asked_for_is_nothing():
    assert Mix.from_config(AugmentConfig(), CLASSES) is None


def test_an_odd_part_is_refused():
    images, labels = batch(rows=5)
    with pytest.raises(ValueError, match=r"even number.*Received: 5"):
        Mix.from_config(AugmentConfig(mixup=1.0), CLASSES)(images, labels, np.random.default_rng(0))

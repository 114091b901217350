import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senet.data import DataConfig, Split
from senet.data.splits import balanced_order, hold_out, split_off_test

labels_of_any_size = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array)


def numbered(labels) -> Split:
    """Images that carry their index, to be recognised."""
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Split(images, np.asarray(labels))


def indices(split: Split) -> set[int]:
    return set(split.images.ravel().tolist())


@given(labels=labels_of_any_size, seed=st.integers(0, 99))
def test_every_beginning_has_the_shares_of_the_whole(labels, seed):
    order = balanced_order(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    shares = np.bincount(labels, minlength=5) / len(labels)
    for size in range(1, len(labels) + 1):
        counts = np.bincount(labels[order[:size]], minlength=5)
        assert np.abs(counts - shares * size).max() < 5


def test_equal_classes_are_taken_equally():
    labels = np.arange(100) % 5
    for size in range(5, 100, 5):
        assert set(np.bincount(labels[balanced_order(labels, 0)[:size]])) == {size // 5}


def test_the_order_of_a_seed_is_fixed_for_good():
    golden = [9, 7, 2, 0, 4, 5, 3, 10, 11, 6, 1, 8]
    # Validation images must not wander with the NumPy version.
    assert balanced_order(np.arange(12) % 3, 0).tolist() == golden
    assert balanced_order(np.arange(12) % 3, 1).tolist() != golden


@given(labels=labels_of_any_size.filter(lambda labels: len(labels) > 1))
def test_test_images_are_a_fifth(labels):
    train, test = split_off_test(labels)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert len(test) == max(1, round(0.2 * len(labels)))


def test_validation_depends_on_the_split_seed_alone():
    labels = np.arange(200) % 10
    whole, held = hold_out(labels, DataConfig(validation=50))
    assert set(np.bincount(labels[held])) == {5}
    assert sorted([*whole, *held]) == list(range(200))
    previous: set[int] = set()
    for limit in (20, 100, 150):
        train, same = hold_out(labels, DataConfig(validation=50, train_limit=limit))
        assert set(same) == set(held)
        assert set(np.bincount(labels[train])) == {limit // 10}
        assert previous < set(train)
        assert not set(train) & set(held)
        previous = set(train)
    other = hold_out(labels, DataConfig(validation=50, split_seed=1))[1]
    assert set(other) != set(held)


def test_nothing_held_out_keeps_all():
    train, held = hold_out(np.arange(20) % 2, DataConfig())
    assert (train.tolist(), held.tolist()) == (list(range(20)), [])


@pytest.mark.parametrize("held", [20, 21])
def test_validation_must_leave_something(held):
    with pytest.raises(ValueError, match=f"validation={held} of 20 images"):
        hold_out(np.arange(20) % 2, DataConfig(validation=held))


def test_the_limit_must_be_there():
    with pytest.raises(ValueError, match=r"train_limit=16, with 15 images left after validation=5"):
        hold_out(np.arange(20) % 2, DataConfig(validation=5, train_limit=16))
    assert len(hold_out(np.arange(20) % 2, DataConfig(validation=5, train_limit=15))[0]) == 15


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), [0, 1]),
        (np.zeros((2, 4, 4), np.uint8), [0, 1]),
        (np.zeros((2, 4, 4, 3), np.uint8), [0, 1, 1]),
    ],
)
def test_a_split_is_checked(images, labels):
    with pytest.raises(ValueError, match="Received"):
        Split(images, np.array(labels))

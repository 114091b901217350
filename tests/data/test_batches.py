import itertools

import numpy as np
import pytest

from senet.data import Augment, Batches, Preprocess, Split

PREPROCESS = Preprocess(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (50, 6, 6, 3), dtype=np.uint8), np.arange(50))


def training(split: Split, seed: int = 0) -> Batches:
    return Batches(split, PREPROCESS, batch=8, seed=seed, augment=Augment(2, True))


def equal(left, right) -> bool:
    pairs = itertools.zip_longest(left, right, fillvalue=(None, None))
    return all(np.array_equal(a, c) and np.array_equal(b, d) for (a, b), (c, d) in pairs)


def test_shapes_and_types(split):
    images, labels = next(training(split).epoch(0))
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == (
        (8, 6, 6, 3),
        np.float32,
        (8,),
        np.int32,
    )


def test_an_epoch_is_the_same_whatever_ran_before(split):
    used = training(split)
    for epoch in (0, 3, 1):
        list(used.epoch(epoch))
    assert equal(used.epoch(2), training(split).epoch(2))
    assert equal(used.epoch(2, first_step=4), list(training(split).epoch(2))[4:])
    assert list(used.epoch(2, first_step=used.steps)) == []


def test_epochs_and_seeds_differ_in_order_and_in_variation(split):
    first = list(training(split).epoch(0))
    for other in (training(split).epoch(1), training(split, seed=1).epoch(0)):
        assert not any(np.array_equal(a[1], b[1]) for a, b in zip(first, other, strict=True))
    same = Split(np.repeat(split.images[:1], 50, axis=0), split.labels)
    batches = [images for epoch in range(2) for images, _ in training(same).epoch(epoch)]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(batches, 2))


def test_an_epoch_holds_each_image_at_most_once(split):
    seen = np.concatenate([labels for _, labels in training(split).epoch(0)])
    assert len(seen) == len(set(seen)) == 48


def test_the_stream_is_the_epochs_one_after_another(split):
    batches = training(split)
    expected = [*batches.epoch(5), *batches.epoch(6)]
    assert equal(itertools.islice(batches.stream(5), 2 * batches.steps), expected)


def test_evaluation_keeps_order_and_remainder(split):
    batches = Batches(split, PREPROCESS, batch=8, shuffle=False, drop_remainder=False)
    images, labels = zip(*batches.epoch(0), strict=True)
    assert batches.steps == len(images) == 7
    np.testing.assert_array_equal(np.concatenate(images), split.images)
    np.testing.assert_array_equal(np.concatenate(labels), split.labels)


def test_the_preprocess_is_applied_after_the_augmentation(split):
    preprocess = Preprocess(mean=(9.0, 9.0, 9.0), std=(2.0, 2.0, 2.0))
    batches = Batches(split, preprocess, batch=50, augment=Augment(6, False, fill=(9,)))
    images, _ = next(batches.epoch(0))
    assert (images == 0).mean() > 0.2


def test_steps_of_whole_batches(split):
    assert Batches(split, PREPROCESS, batch=10).steps == 5
    assert Batches(split, PREPROCESS, batch=10, drop_remainder=False).steps == 5
    assert Batches(split, PREPROCESS, batch=50).steps == 1


def test_a_split_smaller_than_a_batch_is_refused(split):
    with pytest.raises(ValueError, match=r"50 images, batch=51.*batch=50 or less"):
        Batches(split, PREPROCESS, batch=51)
    assert Batches(split, PREPROCESS, batch=51, drop_remainder=False).steps == 1


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"batch": 8, "seed": -1}])
def test_impossible_settings_are_refused(split, wrong):
    with pytest.raises(ValueError, match="Received"):
        Batches(split, PREPROCESS, **wrong)


def test_an_empty_split_is_refused(split):
    with pytest.raises(ValueError, match="at least one image"):
        Batches(split.take(np.arange(0)), PREPROCESS, batch=1, drop_remainder=False)


@pytest.mark.parametrize("place", [(-1, 0), (0, -1), (0, 7)])
def test_places_outside_the_run_are_refused_at_once(split, place):
    with pytest.raises(ValueError, match=r"0\.\.6"):
        training(split).epoch(*place)

import itertools
import zlib

import numpy as np
import pytest

from senet.data import AugmentConfig, DataConfig, Plan, Preprocess, Shard, Split
from senet.data.batches import InOrder, MemoryBatches
from senet.data.plan import WHOLE

PREPROCESS = Preprocess(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
EVERYTHING = {
    "crop": "random_resized",
    "flip": True,
    "rotation": 10,
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "rand_augment": {"number": 2},
    "pixel_jitter": 20,
    "erasing": 0.5,
    "cutout": 2,
    "mixup": 0.2,
    "cutmix": 1.0,
}


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (50, 6, 6, 3), dtype=np.uint8), np.arange(50))


def training(split: Split, seed: int = 0, shard: Shard = WHOLE, preprocess=PREPROCESS, **augment):
    config = AugmentConfig(**{"crop": "pad", "padding": 2, "flip": True, **augment})
    return MemoryBatches(split, preprocess, Plan(len(split), 8, seed, shard), config, 50)


def take(batches, steps: int, first: int = 0) -> list:
    return list(itertools.islice(batches.stream(first), steps))


def equal(left, right) -> bool:
    pairs = zip(left, right, strict=True)
    return all(np.array_equal(a, c) and np.array_equal(b, d) for (a, b), (c, d) in pairs)


def test_shapes_and_types(split):
    images, labels = next(training(split).stream())
    assert (images.shape, images.dtype) == ((8, 6, 6, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((8,), np.int32)
    images, labels = next(training(split, mixup=0.5).stream())
    assert (images.shape, images.dtype) == ((8, 6, 6, 3), np.float32)
    assert (labels.shape, labels.dtype) == ((8, 50), np.float32)


@pytest.mark.parametrize("augment", [{}, EVERYTHING], ids=["pad", "everything"])
class TestRepeats:
    def test_a_step_is_the_same_whatever_ran_before(self, split, augment):
        used = training(split, **augment)
        first = take(used, 15)
        assert equal(take(used, 15), first)
        assert equal(take(training(split, **augment), 8, first=7), first[7:])

    def test_the_parts_of_the_processes_are_the_batch(self, split, augment):
        whole = take(training(split, **augment), 8)
        for count in (2, 4):
            parts = [take(training(split, shard=Shard(index, count), **augment), 8) for index in range(count)]
            joined = [
                tuple(np.concatenate(arrays) for arrays in zip(*step, strict=True))
                for step in zip(*parts, strict=True)
            ]
            assert equal(joined, whole)

    def test_epochs_and_seeds_differ(self, split, augment):
        first, second = take(training(split, **augment), 6), take(training(split, **augment), 6, first=6)
        other = take(training(split, seed=1, **augment), 6)
        assert not any(np.array_equal(a[0], b[0]) for a, b in zip(first, second, strict=True))
        assert not any(np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_the_cifar_recipe_gives_the_batches_it_always_gave():
    # Whoever changes this number breaks the resuming of every run that was made before.
    pixels = np.random.default_rng(0).integers(0, 256, (500, 32, 32, 3), dtype=np.uint8)
    config = DataConfig(source="cifar10").resolved().augment
    plan = Plan(500, 64, seed=3)
    batches = MemoryBatches(Split(pixels, np.arange(500)), PREPROCESS, plan, config, 500)
    content = b"".join(
        images.astype(np.uint8).tobytes() + labels.tobytes() for images, labels in take(batches, 9)
    )
    assert zlib.crc32(content) == 4063564920


def test_the_preprocess_is_applied_after_the_augmentation(split):
    preprocess = Preprocess(mean=(9.0, 9.0, 9.0), std=(2.0, 2.0, 2.0))
    images, _ = next(training(split, preprocess=preprocess, padding=6, flip=False).stream())
    assert (images == 0).mean() > 0.2


def test_mixing_needs_pairs(split):
    with pytest.raises(ValueError, match=r"even number.*Received: 1"):
        training(split, shard=Shard(0, 8), mixup=0.2)


def test_a_step_before_the_first_is_refused_at_once(split):
    with pytest.raises(ValueError, match="-1"):
        training(split).stream(-1)


class TestInOrder:
    def test_it_keeps_order_and_pads_the_last_batch(self, split):
        batches = InOrder(split, PREPROCESS, 8)
        images, labels, weights = (np.concatenate(part) for part in zip(*batches, strict=True))
        assert batches.steps == 7
        assert images.shape == (56, 6, 6, 3)
        np.testing.assert_array_equal(images[:50], split.images)
        np.testing.assert_array_equal(labels[:50], split.labels)
        assert weights.tolist() == [1.0] * 50 + [0.0] * 6
        assert (weights.dtype, labels.dtype) == (np.float32, np.int32)
        assert not images[50:].any()

    @pytest.mark.parametrize("count", [2, 4])
    def test_the_parts_of_the_processes_are_the_batch(self, split, count):
        parts = [list(InOrder(split, PREPROCESS, 8, Shard(index, count))) for index in range(count)]
        for step, whole in enumerate(InOrder(split, PREPROCESS, 8)):
            for place, array in enumerate(whole):
                joined = np.concatenate([part[step][place] for part in parts])
                np.testing.assert_array_equal(joined, array)

    def test_it_can_be_read_again(self, split):
        batches = InOrder(split, PREPROCESS, 25)
        assert [len(batch[1]) for batch in batches] == [len(batch[1]) for batch in batches] == [25, 25]

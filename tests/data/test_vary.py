"""Every change of a single image, against a formula by hand or what must stay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from senet.data.config import AugmentConfig, ColorJitter, RandAugment
from senet.data.crop import random_window
from senet.data.rand_augment import OPERATIONS, rand_augment
from senet.data.vary import Vary, as_image, color_jitter, cutout, erasing, pixel_jitter, rotation, turn_hue

FILL = (9, 8, 7)
EVERYTHING = {
    "rotation": 10,
    "color_jitter": ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "rand_augment": RandAugment(number=3),
    "pixel_jitter": 20,
    "erasing": 1,
    "cutout": 4,
}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", EVERYTHING)
def test_the_draw_decides_and_shape_and_input_stay(name, channels):
    image = noise(17, 12, channels)
    before = image.copy()
    vary = Vary.from_config(AugmentConfig(**{name: EVERYTHING[name]}), FILL[:channels])
    results = [vary(image, rng(seed)) for seed in (1, 1, 2)]
    assert [result.shape for result in results] == [image.shape] * 3
    assert results[0].dtype == np.uint8
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(image, before)
    assert any(not np.array_equal(vary(image, rng(seed)), image) for seed in range(9))


def test_nothing_asked_for_is_nothing():
    assert Vary.from_config(AugmentConfig(), FILL) is None
    assert len(Vary.from_config(AugmentConfig(**EVERYTHING), FILL).changes) == len(EVERYTHING)


class TestWindow:
    @given(
        size=st.tuples(st.integers(1, 900), st.integers(1, 900)),
        low=st.floats(0.01, 1),
        seed=st.integers(0, 999),
    )
    def test_it_is_inside(self, size, low, seed):
        left, top, right, bottom = random_window(size, (low, 1.0), (3 / 4, 4 / 3), rng(seed))
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]

    def test_area_and_aspect_are_those_asked_for(self):
        boxes = np.array(
            [random_window((640, 480), (0.08, 1.0), (3 / 4, 4 / 3), rng(seed)) for seed in range(4000)]
        )
        across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        share, aspect = across * down / (640 * 480), across / down
        assert 0.078 < share.min() < 0.09
        assert share.max() > 0.98
        assert aspect.min() > 0.74
        assert aspect.max() < 1.35
        # Even over what fits for small areas: a quarter of [0.08, 0.31] on each side of 0.195 …
        small = share[share < 0.31]
        assert abs((small < 0.195).mean() - 0.5) < 0.05
        # … and the logarithm of the aspect is even there as well.
        assert abs((aspect[share < 0.31] < 1).mean() - 0.5) < 0.05

    def test_what_never_fits_gives_the_largest_central_window(self):
        assert random_window((1000, 10), (0.9, 1.0), (1.0, 1.0), rng()) == (495, 0, 505, 10)
        assert random_window((10, 1000), (0.9, 1.0), (0.5, 1.0), rng()) == (0, 490, 10, 510)


class TestRotation:
    def test_no_angle_changes_nothing(self):
        image = noise(9, 9, 3)
        np.testing.assert_array_equal(rotation(image, rng(), degrees=0, fill=FILL), image)

    def test_the_corners_are_filled_and_the_centre_stays(self):
        image = np.full((41, 41, 3), 200, np.uint8)
        turned = rotation(image, rng(4), degrees=10, fill=FILL)
        assert turned[0, 0].tolist() == list(FILL)
        assert (turned[10:31, 10:31] == 200).all()

    def test_angles_are_even_within_the_limit(self):
        # A line to the right of the centre tells the angle.
        image = np.zeros((201, 201, 1), np.uint8)
        image[99:102, 101:] = 255
        angles = []
        for seed in range(200):
            rows = np.argwhere(rotation(image, rng(seed), degrees=10, fill=(0,))[:, 180, 0] > 128)
            angles.append(np.degrees(np.arctan2(100 - rows.mean(), 80)))
        assert -10.8 < min(angles) < -8.5
        assert 8.5 < max(angles) < 10.8
        assert abs(np.mean(angles)) < 1.5


class TestPixelJitter:
    def test_a_channel_moves_as_one(self):
        image = noise(6, 5, 3) // 2 + 60
        shift = pixel_jitter(image, rng(3), most=20).astype(int) - image
        assert (shift == shift[0, 0]).all()
        assert len(set(shift[0, 0])) > 1
        assert abs(shift).max() <= 20

    def test_it_stops_at_black_and_white(self):
        for level in (0, 255):
            image = np.full((2, 2, 3), level, np.uint8)
            moved = np.stack([pixel_jitter(image, rng(seed), most=20) for seed in range(50)]).astype(int)
            assert abs(moved - level).max() in range(18, 21)


class TestColour:
    def test_brightness_is_a_factor(self):
        image = noise(8, 8, 3)
        result = color_jitter(image, rng(1), config=ColorJitter(brightness=0.5))
        factor = rng(1).uniform(0.5, 1.5)
        np.testing.assert_allclose(result, np.clip(image * factor, 0, 255), atol=1)

    def test_contrast_mixes_with_the_mean_grey(self):
        image = noise(8, 8, 3)
        generator = rng(1)
        generator.uniform(1, 1)
        factor = generator.uniform(0.5, 1.5)
        grey = round(np.asarray(as_image(image).convert("L")).mean())
        result = color_jitter(image, rng(1), config=ColorJitter(contrast=0.5))
        np.testing.assert_allclose(
            result, np.clip(grey + factor * (image.astype(float) - grey), 0, 255), atol=1
        )

    def test_saturation_keeps_the_grey_copy(self):
        image = noise(8, 8, 3) // 2 + 64
        result = color_jitter(image, rng(1), config=ColorJitter(saturation=0.5))
        greys = [np.asarray(as_image(pixels).convert("L"), int) for pixels in (image, result)]
        np.testing.assert_allclose(*greys, atol=2)
        assert not np.array_equal(image, result)

    def test_a_third_of_the_circle_makes_red_green(self):
        red = Image.new("RGB", (2, 2), (255, 0, 0))
        assert np.abs(np.asarray(turn_hue(red, 1 / 3))[0, 0].astype(int) - (0, 255, 0)).max() <= 6
        grey = Image.new("RGB", (2, 2), (90, 90, 90))
        assert turn_hue(grey, 0.4).getpixel((0, 0)) == (90, 90, 90)


class TestHoles:
    @given(height=st.integers(12, 40), width=st.integers(12, 40), seed=st.integers(0, 500))
    def test_erasing_changes_one_rectangle(self, height, width, seed):
        image = np.full((height, width, 3), 7, np.uint8)
        changed = (erasing(image, rng(seed), probability=1) != 7).any(-1)
        rows, columns = np.where(changed.any(1))[0], np.where(changed.any(0))[0]
        if len(rows):
            assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.7
            assert changed.mean() < 0.5

    def test_erasing_takes_the_share_it_is_told(self):
        image = np.zeros((64, 64, 3), np.uint8)
        areas = [(erasing(image, rng(seed), probability=0.25) > 0).any(-1).mean() for seed in range(1000)]
        assert abs(np.mean(np.array(areas) > 0) - 0.25) < 0.04
        assert max(areas) < 0.34
        assert np.median([area for area in areas if area]) == pytest.approx(0.175, abs=0.04)

    @given(side=st.integers(1, 12), seed=st.integers(0, 500))
    def test_cutout_is_a_square_clipped_at_the_border(self, side, seed):
        image = np.full((10, 14, 3), 200, np.uint8)
        covered = (cutout(image, rng(seed), side=side, fill=FILL) == FILL).all(-1)
        generator = rng(seed)
        top, left = generator.integers(10) - side // 2, generator.integers(14) - side // 2
        rows, columns = np.arange(10), np.arange(14)
        expected = ((rows >= top) & (rows < top + side))[:, None] & (
            (columns >= left) & (columns < left + side)
        )
        np.testing.assert_array_equal(covered, expected)


class TestRandAugment:
    def test_there_are_the_fourteen_of_the_paper(self):
        assert len(OPERATIONS) == 14

    @pytest.mark.parametrize("name", OPERATIONS)
    def test_without_strength_an_operation_changes_nothing(self, name):
        image = as_image(noise(12, 10, 3))
        result = np.asarray(OPERATIONS[name](image, 0.0, FILL))
        if name in ("autocontrast", "equalize"):  # they have no strength
            assert result.shape == (12, 10, 3)
        else:
            np.testing.assert_allclose(result, np.asarray(image), atol=0)

    def test_operations_by_hand(self):
        image = noise(20, 20, 3)

        def result(name: str, strength: float) -> np.ndarray:
            return np.asarray(OPERATIONS[name](as_image(image), strength, FILL))

        np.testing.assert_array_equal(result("posterize", 1.0), image & 0b11110000)
        np.testing.assert_array_equal(result("solarize", -0.5), np.where(image < 128, image, 255 - image))
        np.testing.assert_allclose(result("brightness", -1.0), image * 0.1, atol=1)
        moved = result("translate_x", 0.5)  # by round(0.45 * 0.5 * 20) pixels
        np.testing.assert_array_equal(moved[:, :16], image[:, 4:])
        assert (moved[:, 16:] == FILL).all()
        moved = result("translate_y", -0.5)
        np.testing.assert_array_equal(moved[4:], image[:16])
        # About the centre: rows in the middle hardly move, the outer ones do.
        sheared = result("shear_x", 1.0)
        assert (sheared[0, -1] == FILL).all() != (sheared[0, 0] == FILL).all()

    def test_all_operations_and_both_signs_come(self):
        image = noise(16, 16, 3)
        config = RandAugment(number=1, magnitude=15)
        results = {rand_augment(image, rng(seed), config=config, fill=FILL).tobytes() for seed in range(400)}
        # Both signs differ for nine; identity, two without strength and two that take its size are one each.
        assert len(results) == 23

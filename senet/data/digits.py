"""Handwritten digits that need no download: 1797 grey images of 8x8, ten classes.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, as kept in scikit-learn.
"""

import numpy as np

from senet.data.splits import Read, Source, Split, split_off_test


def digits_source() -> Source:
    """Images (N, 8, 8, 1); 359 of the 1797, class-balanced and always the same, are the test images."""
    return Source(
        name="digits",
        class_names=tuple("0123456789"),
        read_train=lambda: _read(part=0),
        read_test=lambda: _read(part=1),
    )


def _read(part: int) -> Read:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    # 0..16 as stored, to 0..255.
    images = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    return Read(Split(images, labels).take(split_off_test(labels)[part]))

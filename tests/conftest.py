"""What every test shares: quiet engines, a clean Keras after each test, the path of the repository."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest

# No test is timed: a busy machine is no fault of what is tested.
hypothesis.settings.register_profile("senet", deadline=None)
hypothesis.settings.load_profile("senet")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, when TensorFlow is first imported


@pytest.fixture(autouse=True)
def clean_keras():
    """Global settings go back to their defaults after each test."""
    yield
    keras = sys.modules.get("keras")  # tests of plain Python do not pay for its import
    if keras is not None:
        keras.config.set_dtype_policy("float32")
        keras.config.set_image_data_format("channels_last")
        keras.utils.clear_session(free_memory=False)  # a collection after each test would double the time


@pytest.fixture(scope="session")
def repo() -> Path:
    return Path(__file__).resolve().parents[1]

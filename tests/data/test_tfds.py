"""A data set of our own, prepared by the real library."""

import numpy as np
import pytest

from senet.data import DataConfig, load_data
from senet.data import tfds as module

pytestmark = pytest.mark.slow


@pytest.fixture
def blobs(tmp_path, monkeypatch):
    """`tfds:blobs`: 20 training and 8 test images of one colour each."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class Blobs(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=["cat", "dog"]),
                }
            )
            return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(20), "test": self._generate_examples(8)}

        def _generate_examples(self, count):
            for index in range(count):
                yield index, {"image": np.full((40, 50, 3), 9 * index, np.uint8), "label": index % 2}

    made = Blobs(data_dir=tmp_path / "tfds", file_format="array_record")
    monkeypatch.setattr(tfds, "builder", lambda name, **settings: made)
    for cached in (module._builder, module._open):
        cached.cache_clear()
    return made


@pytest.mark.filterwarnings("ignore")
def test_a_data_set_by_name(blobs):
    data = load_data(DataConfig(source="tfds:blobs", image_size=16, workers=0, validation=4))
    assert (data.name, data.class_names) == ("blobs", ("cat", "dog"))
    assert (data.train_images, data.validation_images, data.test_images) == (16, 4, 8)
    images, labels, weights = next(iter(data.test(8)))
    assert (images.shape, weights.tolist()) == ((8, 16, 16, 3), [1.0] * 8)
    level = images[..., 0].mean((1, 2)) * data.preprocess.std[0] + data.preprocess.mean[0]
    np.testing.assert_array_equal(labels, np.round(level / 9) % 2)
    assert next(data.training(8, 0).stream())[0].shape == (8, 16, 16, 3)

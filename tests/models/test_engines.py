"""One weight file gives the same logits on every engine that is installed."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.models import representatives as tables
from tests.models.step import to_numpy

TOLERANCE = 1e-4  # relative difference of the logits, float32
ENGINES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
OTHERS = [engine for engine in ENGINES if engine != keras.backend.backend()]

CHILD = """
import sys
import numpy as np
from tests.models import representatives as tables
from tests.models.step import to_numpy
folder = sys.argv[1]
image = np.load(f"{folder}/images.npz")
answers = {}
for name in tables.NAMES:
    network = tables.build(name, weights=f"{folder}/{name}.weights.h5", classifier_activation=None)
    answers[name] = to_numpy(network(image[name]))
np.savez(f"{folder}/{sys.argv[2]}.npz", **answers)
"""


def as_after_training(network, side, rng):
    """Scales and statistics of BatchNorm that are not 0 and 1, and fit the layers before.

    Statistics that do not fit let activations grow from layer to layer, until rounding alone decides what the
    gates answer.
    """
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momentums = [norm.momentum for norm in norms]
    for norm in norms:
        norm.gamma.assign(rng.uniform(0.5, 1.5, norm.gamma.shape))
        norm.beta.assign(rng.normal(0, 0.2, norm.beta.shape))
        norm.momentum = 0.0  # the statistics of the next batch, and of no other
    network(rng.normal(size=(4, *side, 3)).astype(np.float32), training=True)
    for norm, momentum in zip(norms, momentums, strict=True):
        norm.momentum = momentum


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A folder with a weight file and an image for each network, and our logits."""
    folder = tmp_path_factory.mktemp("engines")
    images, answers = {}, {}
    for index, name in enumerate(tables.NAMES):
        keras.utils.set_random_seed(index)
        network = tables.build(name, classifier_activation=None)
        rng = np.random.default_rng(index)
        images[name] = rng.normal(size=(1, *tables.side(name), 3)).astype(np.float32)
        as_after_training(network, tables.side(name), rng)
        network.save_weights(folder / f"{name}.weights.h5")
        answers[name] = to_numpy(network(images[name]))
    np.savez(folder / "images.npz", **images)
    return folder, answers


@pytest.mark.slow
@pytest.mark.parametrize("engine", OTHERS)
def test_the_engines_agree_on_every_network(ours, engine, repo):
    if importlib.util.find_spec(ENGINES[engine]) is None:
        pytest.skip(f"{engine} is not installed")
    folder, answers = ours
    environment = {**os.environ, "KERAS_BACKEND": engine}
    command = [sys.executable, "-c", CHILD, str(folder), engine]
    subprocess.run(command, env=environment, cwd=repo, check=True)
    with np.load(folder / f"{engine}.npz") as theirs:
        assert set(theirs) == set(tables.NAMES)
        differences = {
            name: np.linalg.norm(theirs[name] - answer) / np.linalg.norm(answer)
            for name, answer in answers.items()
        }
    assert {name: value for name, value in differences.items() if not value <= TOLERANCE} == {}

"""What a run may change on its way: layers that learn, BatchNorm, image sizes; each also over a resume."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from senet.training.config import ConfigError
from senet.training.fit import train
from senet.training.loop import Loop
from tests.training.test_fit import StopHere, assert_same_run, metrics

PHASES = (
    {"epoch": 0, "train": ["classifier"]},
    {"epoch": 1, "train": ["stage3*", "classifier"], "freeze_batchnorm": True},
    {"epoch": 2},
)


def arrays(model) -> dict[str, np.ndarray]:
    return {v.path: keras.ops.convert_to_numpy(v).copy() for v in model.variables if "seed" not in v.path}


def moved(before, after) -> set[str]:
    return {path for path, value in before.items() if np.any(value != after[path])}


@pytest.fixture
def watched(monkeypatch):
    """The variables of the network before the first epoch and after each."""
    seen = []
    end_epoch = Loop.end_epoch
    enter = Loop.enter

    def entering(self, phase):
        if not seen:
            seen.append(arrays(self.model))
        enter(self, phase)

    def ending(self, epoch):
        end_epoch(self, epoch)
        seen.append(arrays(self.model))

    monkeypatch.setattr(Loop, "enter", entering)
    monkeypatch.setattr(Loop, "end_epoch", ending)
    return seen


@pytest.mark.engine
def test_each_phase_moves_what_it_names(tiny, tmp_path, watched):
    train(tiny(epochs=3, phases=PHASES), tmp_path, progress=False)
    first, second, third = (moved(a, b) for a, b in itertools.pairwise(watched))
    assert first == {"classifier/kernel", "classifier/bias"}
    assert {path.split("/")[0].split("_")[0] for path in second} == {"stage3", "classifier"}
    assert not any("_bn/" in path for path in second)
    assert third == watched[0].keys()
    saved = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert all(layer.trainable for layer in saved.layers)


@pytest.mark.engine
def test_momentum_goes_over_to_the_next_phase(tiny, tmp_path, monkeypatch):
    found = {}
    enter = Loop.enter

    def entering(self, phase):
        before = self.model.optimizer if self.phase else None
        enter(self, phase)
        if before is not None and before is not self.model.optimizer:
            found["old"] = {v.name: keras.ops.convert_to_numpy(v) for v in before.variables}
            found["new"] = {v.name: keras.ops.convert_to_numpy(v) for v in self.model.optimizer.variables}

    monkeypatch.setattr(Loop, "enter", entering)
    train(tiny(phases=({"epoch": 0, "train": ["classifier"]}, {"epoch": 1})), tmp_path, progress=False)
    assert found["old"].keys() < found["new"].keys()
    for name, value in found["old"].items():
        np.testing.assert_array_equal(found["new"][name], value, err_msg=name)
    assert any(np.any(value) for name, value in found["old"].items() if "momentum" in name)
    assert found["new"]["iteration"] == 4


def test_training_images_may_grow(tiny, tmp_path, monkeypatch):
    sizes = []
    feed = Loop.train_epoch

    def training(self, epoch, callbacks):
        sizes.append(next(self.batches.stream())[0].shape[1:3])
        feed(self, epoch, callbacks)

    monkeypatch.setattr(Loop, "train_epoch", training)
    phases = ({"epoch": 0, "image_size": 8}, {"epoch": 1, "image_size": 12}, {"epoch": 2})
    data = {"source": "digits", "validation": 100, "train_limit": 128, "image_size": 16}
    result = train(tiny(epochs=3, phases=phases, data=data), tmp_path, progress=False)
    assert sizes == [(8, 8), (12, 12), (16, 16)]
    assert np.isfinite(result.test_loss)


VARIANTS = {
    "phases": {"phases": PHASES},
    "accumulate": {"optimizer": {"lr": 0.1, "accumulate": 3, "clip_norm": 1.0}},
    "float16": {"precision": "mixed_float16", "optimizer": {"name": "adamw", "lr": 1e-3}},
    "executed together": {"speed": {"steps_per_execution": 2}},
    "mixed images": {
        "data": {
            "source": "digits",
            "validation": 100,
            "train_limit": 256,
            "augment": {"mixup": 0.2, "cutmix": 1.0, "rotation": 10, "erasing": 0.25},
        },
        "loss": "binary_crossentropy",
        "label_smoothing": 0.1,
    },
    "shake": {"model": "se_shake_shake_26_2x32d_cifar", "batch": 128},
}


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resume_is_exact_whatever_the_run_does(tiny, tmp_path, monkeypatch, variant):
    config = tiny(**{"epochs": 3, "ema": 0.9, "checkpoints": {"steps": 3}, **VARIANTS[variant]})
    train(config, tmp_path / "whole", progress=False)
    after_step, stops = Loop.after_step, iter((2, 5))
    for _ in range(2):
        stop = next(stops)
        with monkeypatch.context() as patch:

            def stopping(self, step, stop=stop):
                after_step(self, step)
                if step > stop:
                    raise StopHere

            patch.setattr(Loop, "after_step", stopping)
            with pytest.raises(StopHere):
                train(config, tmp_path / "broken", progress=False)
    train(config, tmp_path / "broken", progress=False)
    assert_same_run(tmp_path / "broken", tmp_path / "whole")


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        (({"epoch": 1},), "begin at epoch 0"),
        (({"epoch": 0}, {"epoch": 0}), "begin at epoch 0 and rise"),
        (({"epoch": 0}, {"epoch": 2}), "the last below `epochs`=2"),
        (({"epoch": 0, "trian": ["*"]},), "'train'"),
    ],
)
def test_phases_that_do_not_fit_are_refused(tiny, phases, words):
    with pytest.raises(ConfigError, match=words):
        tiny(phases=phases)


def test_a_pattern_that_fits_no_layer_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"fits none of stem_conv, …, classifier"):
        train(tiny(phases=({"train": ["layer4*"]},)), tmp_path, progress=False)


@pytest.mark.engine
def test_averaged_weights_are_scored_and_saved_beside_the_raw_ones(tiny, tmp_path):
    result = train(tiny(epochs=3, ema=0.95), tmp_path, progress=False)
    rows = metrics(tmp_path)
    assert all(row["ema_val_loss"] != row["val_loss"] for row in rows)
    raw = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    averaged = keras.saving.load_model(tmp_path / "model_ema.keras", compile=False)
    differing = moved(arrays(raw), dict(zip(arrays(raw), arrays(averaged).values(), strict=True)))
    assert len(differing) == len(arrays(raw))
    assert result.ema_test_loss != result.test_loss


@pytest.mark.engine
def test_the_best_epoch_is_kept(tiny, tmp_path):
    # Good for two epochs, then a learning rate that ruins everything.
    schedule = {"name": "step", "at": [2], "factor": 200.0}
    result = train(tiny(epochs=4, optimizer={"lr": 0.05}, schedule=schedule), tmp_path, progress=False)
    rows = metrics(tmp_path)
    best = max(rows, key=lambda row: row["val_accuracy"])
    assert result.best_epoch == best["epoch"]
    assert result.best_epoch < 4
    assert (tmp_path / "model_best.keras").exists()


@pytest.mark.slow
@pytest.mark.parametrize("speed", [{"jit": True}, {"steps_per_execution": 4}])
def test_how_steps_are_run_changes_nothing_but_rounding(tiny, tmp_path, speed):
    calm = {"optimizer": {"lr": 1e-3}, "model_options": {"blocks": [1, 1, 1]}}
    train(tiny(**calm), tmp_path / "usual", progress=False)
    train(tiny(**calm, speed=speed), tmp_path / "other", progress=False)
    for one, other in zip(metrics(tmp_path / "other"), metrics(tmp_path / "usual"), strict=True):
        assert one == pytest.approx(other, rel=1e-4)

"""The three-minute demonstration: SE on handwritten digits, with nothing to download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from senet.bench.cifar import Grid, run_grid, run_in_process
from senet.bench.report import write_report
from senet.data.batches import InOrder
from senet.data.memory import load_memory
from senet.data.pipeline import find_source
from senet.data.preprocess import Preprocess
from senet.data.splits import Split
from senet.evaluate import load_run, predict_logits
from senet.explain.gates import read_gates
from senet.explain.plots import draw_gate_rows
from senet.scores import softmax
from senet.training.config import load_config
from senet.training.curves import COLOURS, new_figure, save_figure
from senet.training.run_folder import RunFolder

MODELS = ("resnet_20_cifar", "se_resnet_20_cifar")
TITLE = "Handwritten digits with and without SE"


def run_demo(out: Path, epochs: int | None = None) -> list[Path]:
    """Train both networks of `MODELS` into `out`; the files to look at, report first."""
    config = load_config("digits", epochs=epochs)
    note = "scikit-learn's digits: grey images of 8 × 8 pixels. One seed: a demonstration, not a verdict."
    run_grid(Grid(config=config, models=MODELS, seeds=(0,), out=out, note=note), run_in_process)
    files = write_report(out, TITLE)
    run = out / "runs" / f"{MODELS[-1]}-seed0"
    model, preprocess, names = load_run(run)
    data = RunFolder(run).read_config().data
    test = load_memory(find_source(data), data).test_split
    pictures = [out / "predictions.png", out / "gates.png"]
    draw_predictions(model, preprocess, names, test, pictures[0])
    draw_gates(model, preprocess, names, test, pictures[1])
    return [*files, *pictures]


def draw_predictions(
    model: keras.Model, preprocess: Preprocess, names: tuple[str, ...], test: Split, path: Path
) -> None:
    """Test images with what the network says and how sure it is; its mistakes first, in colour."""
    rows, columns = 4, 9
    p = softmax(predict_logits(model, preprocess, test.images, batch=256))
    wrong = int(np.sum(p.argmax(axis=1) != test.labels))
    chosen = choose(p, test, rows * columns)
    figure, _ = new_figure(1)
    figure.clear()
    figure.set_size_inches(1.1 * columns, 1.45 * rows)
    for cell, index in enumerate(chosen, start=1):
        axis = figure.add_subplot(rows, columns, cell)
        axis.imshow(test.images[index].squeeze(), cmap="gray_r" if test.images.shape[-1] == 1 else None)
        axis.axis("off")
        said, truth = int(p[index].argmax()), int(test.labels[index])
        text = f"{names[said]}  {p[index, said]:.0%}" + ("" if said == truth else f"\nis {names[truth]}")
        axis.set_title(text, fontsize=9, color="black" if said == truth else COLOURS[1])
    save_figure(figure, path, f"{model.name}: {wrong} of {len(test)} test images wrong (shown first)")


def choose(p: np.ndarray, test: Split, count: int) -> Sequence[int]:
    """Indices to show: the most confident mistakes, then right answers, the least certain first."""
    right = p.argmax(axis=1) == test.labels
    certainty = p.max(axis=1)
    return np.lexsort((np.where(right, certainty, -certainty), right))[:count].tolist()


def draw_gates(
    model: keras.Model, preprocess: Preprocess, names: tuple[str, ...], test: Split, path: Path
) -> None:
    """Mean gate of every channel for the images of each class, at the last SE block of each stage."""
    gates = read_gates(model, InOrder(test, preprocess, 256), np.arange(len(names)))
    title = f"{model.name}: how far each channel is let through, by class"
    draw_gate_rows(gates.last_of_stages, names, path, title=title)

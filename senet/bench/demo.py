"""The three-minute demonstration: SE on handwritten digits, with nothing to download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from senet.bench.cifar import Grid, run_grid, run_in_process
from senet.bench.report import write_report
from senet.data.pipeline import load_data
from senet.data.splits import Split
from senet.evaluate import load_run, predict_logits, softmax
from senet.training.config import load_config
from senet.training.curves import COLOURS, new_figure, save_figure

MODELS = ("resnet_20_cifar", "se_resnet_20_cifar")
TITLE = "Handwritten digits with and without SE"


def run_demo(out: Path, epochs: int | None = None) -> list[Path]:
    """Train both networks of `MODELS` into `out`, print the table; the files to look at, report first."""
    from senet.cli_tables import print_report

    config = load_config("digits", epochs=epochs)
    note = "scikit-learn's digits: grey images of 8 × 8 pixels. One seed: a demonstration, not a verdict."
    run_grid(Grid(config=config, models=MODELS, seeds=(0,), out=out, note=note), run_in_process)
    files = write_report(out, TITLE)
    print_report(out)
    picture = out / "predictions.png"
    draw_predictions(out / "runs" / f"{MODELS[-1]}-seed0", picture)
    return [*files, picture]


def draw_predictions(run: Path, path: Path, *, rows: int = 4, columns: int = 9) -> None:
    """Test images with what the network of a run says and how sure it is; its mistakes first, in colour."""
    from senet.training.run_folder import RunFolder

    model, preprocess, names = load_run(run)
    test = load_data(RunFolder(run).read_config().data).test()
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

"""The most confident mistakes of a network, and which classes it takes for which."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from senet.data.dataset import Dataset
from senet.data.stream import StreamDataset
from senet.evaluate import Subject
from senet.explain.copies import kept_rows
from senet.explain.names import readable
from senet.explain.sheets import Tile, draw_sheet
from senet.explain.tables import write_csv
from senet.page import Picture, Section, Table, write_page
from senet.scores import softmax

SHOWN_PAIRS = 25
MISTAKE_COLUMNS = ("rank", "image", "file", "truth", "answer", "probability", "probability_of_truth")
PAIR_COLUMNS = ("truth", "answer", "images", "share_of_truth", "the_other_way")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Mistake:
    """An image that a network is wrong about; probabilities in [0, 1]."""

    image: int  # its place among the test images, from 0
    file: str  # its path; "" for images in memory
    truth: str
    answer: str
    probability: float
    probability_of_truth: float
    pixels: np.ndarray  # (H, W, C) uint8, as the network saw it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """How often images of one class are taken for another."""

    truth: str
    answer: str
    images: int
    share: float  # of the images of `truth`
    other_way: int  # images of `answer` taken for `truth`


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Mistakes:
    """The most confident mistakes, the surest first, and all confused pairs, the most frequent first."""

    images: int
    wrong: int
    worst: Sequence[Mistake]
    pairs: Sequence[Pair]


def find_mistakes(subject: Subject, *, count: int = 30, batch: int = 64) -> Mistakes:
    """Run a network over its test images and keep the `count` mistakes that it is surest of.

    ValueError for a `count` below 1, and where no image could be read.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1. Received: count={count}.")
    names, data = readable(subject.class_names), subject.data
    kept_worst: list[tuple[float, int, Mistake]] = []
    truths, answers, place = [], [], 0
    for images, labels, kept in kept_rows(data.test(batch)):
        p = softmax(np.asarray(subject.network.predict_on_batch(images)))
        truth, said = subject.classes[labels], p.argmax(axis=1)
        for row in np.flatnonzero(kept & (said != truth)):
            sure = float(p[row, said[row]])
            if len(kept_worst) == count and sure <= kept_worst[0][0]:
                continue
            mistake = Mistake(
                image=place + int(row),
                file=file_of(data, place + int(row)),
                truth=names[truth[row]],
                answer=names[said[row]],
                probability=sure,
                probability_of_truth=float(p[row, truth[row]]),
                pixels=pixels_of(images[row], data),
            )
            # Of equally sure ones the first image stays.
            push = heapq.heappush if len(kept_worst) < count else heapq.heappushpop
            push(kept_worst, (sure, -mistake.image, mistake))
        truths.append(truth[kept])
        answers.append(said[kept])
        place += len(labels)
    truth, said = np.concatenate(truths), np.concatenate(answers)
    if not len(truth):
        raise ValueError("There must be images to find mistakes in. Received: none that could be read.")
    worst = [mistake for _, _, mistake in sorted(kept_worst, key=lambda entry: entry[:2], reverse=True)]
    return Mistakes(
        images=len(truth), wrong=int(np.sum(truth != said)), worst=worst, pairs=pairs(truth, said, names)
    )


def pairs(truth: np.ndarray, said: np.ndarray, names: Sequence[str]) -> list[Pair]:
    """The confused pairs of classes, of class indices (N,) that are so and that were said."""
    counts: dict[tuple[int, int], int] = {}
    for of, to in zip(truth.tolist(), said.tolist(), strict=True):
        counts[of, to] = counts.get((of, to), 0) + 1
    images = {index: int(number) for index, number in zip(*np.unique(truth, return_counts=True), strict=True)}
    found = [
        Pair(
            truth=str(names[of]),
            answer=str(names[to]),
            images=number,
            share=number / images[of],
            other_way=counts.get((to, of), 0),
        )
        for (of, to), number in counts.items()
        if of != to
    ]
    return sorted(found, key=lambda pair: (-pair.images, -pair.share, pair.truth, pair.answer))


def file_of(data: Dataset, place: int) -> str:
    """The path of a test image that lies on disk; "" for one in memory."""
    if not isinstance(data, StreamDataset):
        return ""
    return data.test_part.records.name(int(data.test_part.indices[place]))


def pixels_of(image: np.ndarray, data: Dataset) -> np.ndarray:
    """(H, W, C) uint8 from what the network reads."""
    mean, std = (np.array(values, np.float32) for values in (data.preprocess.mean, data.preprocess.std))
    return np.clip(np.round(image * std + mean), 0, 255).astype(np.uint8)


# Files


def write_mistakes(found: Mistakes, subject: Subject, out: Path) -> tuple[Path, ...]:
    """Write the contact sheet, two tables and index.html into `out`; the files, the page first."""
    files = [out / "index.html", out / "mistakes.csv", out / "pairs.csv"]
    write_csv(
        out / "mistakes.csv",
        MISTAKE_COLUMNS,
        (
            (rank, row.image, row.file, row.truth, row.answer, row.probability, row.probability_of_truth)
            for rank, row in enumerate(found.worst, start=1)
        ),
    )
    write_csv(
        out / "pairs.csv",
        PAIR_COLUMNS,
        ((row.truth, row.answer, row.images, row.share, row.other_way) for row in found.pairs),
    )
    title = f"{subject.model} on {subject.data.name}: {found.wrong:,} of {found.images:,} images wrong"
    pictures = []
    if found.worst:
        sheet = out / "mistakes.png"
        tiles = [
            Tile([row.pixels], (f"says {row.answer}, {row.probability:.0%}", f"is {row.truth}"))
            for row in found.worst
        ]
        draw_sheet(tiles, sheet, title=title)
        files.append(sheet)
        alt = "The images of the table above, the surest mistake first, with answer and true class."
        pictures = [Picture(source=sheet, alt=alt)]
    write_page(out / "index.html", f"Mistakes: {title}", sections(found, pictures))
    return tuple(files)


def sections(found: Mistakes, pictures: Sequence[Picture]) -> list[Section]:
    """The page's parts: the sheet and the pairs."""
    if not found.worst:
        return [Section(heading="No mistakes", text="The network is right about every image.")]
    shown = list(itertools.islice(found.pairs, SHOWN_PAIRS))
    return [
        Section(
            heading="The most confident mistakes",
            text="Answer and its probability, then the true class; the surest first.",
            pictures=pictures,
        ),
        Section(
            heading="What is taken for what",
            text=f"The {len(shown)} most frequent of {len(found.pairs)} confused pairs. All: pairs.csv.",
            table=Table(
                columns=("True class", "Answer", "Images", "Share of the class", "The other way"),
                rows=[(r.truth, r.answer, r.images, f"{r.share:.1%}", r.other_way) for r in shown],
            ),
        ),
        Section(
            heading="The mistakes as a table",
            table=Table(
                columns=("Rank", "Image", "True class", "Answer", "Probability", "Of the true class"),
                rows=[
                    (
                        *(rank, Path(row.file).name or str(row.image), row.truth, row.answer),
                        *(f"{row.probability:.1%}", f"{row.probability_of_truth:.1%}"),
                    )
                    for rank, row in enumerate(found.worst, start=1)
                ],
            ),
        ),
    ]

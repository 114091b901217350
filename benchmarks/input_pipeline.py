"""How many images a second reach the training loop from JPEG files, against a DataLoader of torchvision.

Both decode photographs, cut a random resized window of 224 pixels, mirror half, normalise, and hand over
float32 batches, in as many worker processes. Each runs in a process of its own and takes its turn in every
round, so that a busy moment of the machine falls on both; the ratio is taken round by round. A second table
compares JPEG decoders, in speed and in how far their pixels are from Pillow's.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install torch torchvision
    python benchmarks/input_pipeline.py PHOTOGRAPHS --peer-python /tmp/peers/bin/python

PHOTOGRAPHS is a folder or a tar file of JPEG files of any layout.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SIDE, CLASSES = 224, 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def our_batches(folder: Path, batch: int, workers: int) -> Iterator[Any]:
    """Float32 (batch, 224, 224, 3) from `senet.data`, without end."""
    from senet.data import DataConfig, load_data

    data = load_data(
        DataConfig(
            source=str(folder),
            streaming=True,
            workers=workers,
            filter="bilinear",
            cache=folder.parent / "cache",
        )
    )
    return (images for images, _ in data.training(batch, seed=0).stream())


def peer_batches(folder: Path, batch: int, workers: int) -> Iterator[Any]:
    """Float32 (batch, 3, 224, 224) from torchvision, Pillow and torch's DataLoader, without end."""
    import torch
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    change = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIDE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(str(folder / "train"), change),
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
    )
    return (images for _ in itertools.count() for images, _ in loader)


CONTESTANTS: dict[str, Callable[[Path, int, int], Iterator[Any]]] = {
    "ours": our_batches,
    "peer": peer_batches,
}


def serve(name: str, folder: Path, batch: int, workers: int) -> None:
    """Make so many batches as each line of the input says, and answer with the seconds they took."""
    batches = CONTESTANTS[name](folder, batch, workers)
    for _ in range(2 * workers + 2):  # workers start, and what they hold ready is used up
        next(batches)
    print("ready", flush=True)
    for line in sys.stdin:
        idle, steps = map(int, line.split())
        for _ in range(idle):  # what was made while the other had its turn
            next(batches)
        start = time.perf_counter()
        for _ in range(steps):
            images = next(batches)
        print(time.perf_counter() - start, flush=True)
        assert images.shape[0] == batch
        assert str(images.dtype).endswith("float32")


@contextlib.contextmanager
def contestant(
    python: str, name: str, folder: Path, batch: int, workers: int
) -> Iterator[subprocess.Popen[str]]:
    """A process that serves one contestant, ready to be timed."""
    command = [
        python,
        __file__,
        "--serve",
        name,
        str(folder),
        "--batch",
        str(batch),
        "--workers",
        str(workers),
    ]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        answer(process)
        yield process
    finally:
        process.kill()
        process.wait()


def answer(process: subprocess.Popen[str]) -> str:
    """The next line of a contestant's output; RuntimeError where it ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError("A contestant ended; its messages are above.")
    return line


def timed(process: subprocess.Popen[str], idle: int, steps: int) -> float:
    """Seconds that a contestant takes for so many batches, after `idle` that are not counted."""
    assert process.stdin is not None
    process.stdin.write(f"{idle} {steps}\n")
    process.stdin.flush()
    return float(answer(process))


def race(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Images a second of both, and their ratio, over rounds in turn."""
    ahead = 3 * options.workers + 3
    speeds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    with contextlib.ExitStack() as closing:
        pythons = {"ours": sys.executable, "peer": options.peer_python}
        processes = {
            name: closing.enter_context(contestant(python, name, folder, options.batch, options.workers))
            for name, python in pythons.items()
        }
        for number in range(options.rounds):
            # Who begins changes, so that neither always follows the other's unfinished work.
            for name in sorted(processes, reverse=bool(number % 2)):
                seconds = timed(processes[name], ahead, options.steps)
                speeds[name].append(options.steps * options.batch / seconds)
    ratios = [ours / peer for ours, peer in zip(speeds["ours"], speeds["peer"], strict=True)]
    return {
        "images_a_second": {name: spread(found) for name, found in speeds.items()},
        "ratio": spread(ratios),
        "rounds": speeds,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {
        "n": len(values),
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def decoders(files: list[bytes], rounds: int) -> dict[str, Any]:
    """Milliseconds an image, in one thread, and the difference to Pillow in grey levels, for each way."""
    import numpy as np

    from senet.data.crop import random_window

    boxes = []
    for number, data in enumerate(files):
        size = open_image(data).size
        boxes.append(random_window(size, (0.08, 1.0), (3 / 4, 4 / 3), np.random.default_rng(number)))
    ways = decoder_ways()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (way, _) in ways.items():
            start = time.perf_counter()
            for data, box in zip(files, boxes, strict=True):
                way(data, box)
            times[name].append((time.perf_counter() - start) / len(files) * 1e3)
    result: dict[str, Any] = {}
    for name, (way, reference) in ways.items():
        differences = [
            np.abs(way(data, box).astype(int) - ways[reference][0](data, box))
            for data, box in zip(files, boxes, strict=True)
        ]
        result[name] = {
            "milliseconds": spread(times[name]),
            "mean_difference": round(float(np.mean([one.mean() for one in differences])), 4),
            "largest_difference": int(max(one.max() for one in differences)),
            "images_that_differ": sum(bool(one.any()) for one in differences),
        }
    return result


def open_image(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data))


def decoder_ways() -> dict[str, tuple[Callable[..., Any], str]]:
    """Ways to decode a file, whole or one window of it at 224 pixels, and what each is compared with."""
    import numpy as np
    from PIL import Image

    from senet.data.decode import cut_window, decode_whole

    def resized(pixels: Any, box: Any) -> Any:
        return np.asarray(Image.fromarray(pixels).crop(box).resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    def with_draft(data: bytes, box: Any) -> Any:
        image = open_image(data)
        (width, height), (left, top, right, bottom) = image.size, box
        image.draft(
            "RGB", (math.ceil(SIDE * width / (right - left)), math.ceil(SIDE * height / (bottom - top)))
        )
        image = image.convert("RGB")
        across, down = image.width / width, image.height / height
        inner = (left * across, top * down, right * across, bottom * down)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, inner))

    def pillow(data: bytes, box: Any) -> Any:
        return np.asarray(open_image(data).convert("RGB"))

    ways: dict[str, tuple[Callable[..., Any], str]] = {
        "whole: Pillow": (pillow, "whole: Pillow"),
        "whole: simplejpeg (senet.data)": (lambda data, box: decode_whole(data), "whole: Pillow"),
        "window: Pillow": (lambda data, box: resized(pillow(data, box), box), "window: Pillow"),
        "window: Pillow with draft": (with_draft, "window: Pillow"),
    }
    for filter in ("area", "bilinear"):

        def ours(data: bytes, box: Any, filter: str = filter) -> Any:
            return cut_window(data, lambda size: box, SIDE, filter)

        ways[f"window: senet.data, {filter}"] = (ours, "window: Pillow")
    return ways | opencv_ways()


def opencv_ways() -> dict[str, tuple[Callable[..., Any], str]]:
    """The same with OpenCV alone."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)

    def whole(data: bytes, box: Any) -> Any:
        return cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        )

    def window(data: bytes, box: Any) -> Any:
        left, top, right, bottom = box
        return cv2.resize(
            whole(data, box)[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA
        )

    return {"whole: OpenCV": (whole, "whole: Pillow"), "window: OpenCV, area": (window, "window: Pillow")}


def read_photographs(path: Path) -> list[bytes]:
    """The JPEG files in a folder or a tar file, in the order of their names."""
    endings = (".jpg", ".jpeg")
    if path.is_dir():
        return [file.read_bytes() for file in sorted(path.rglob("*")) if file.suffix.lower() in endings]
    with tarfile.open(path) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name)
        chosen = [member for member in members if member.name.lower().endswith(endings)]
        return [archive.extractfile(member).read() for member in chosen]  # type: ignore[union-attr]


def write_folders(files: list[bytes], copies: int, root: Path) -> Path:
    """Class folders that hold every file so many times, under different names."""
    for number, data in enumerate(files):
        folder = root / "data" / "train" / f"class{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        first = folder / f"{number:04}-0000.jpg"
        first.write_bytes(data)
        for copy in range(1, copies):
            (folder / f"{number:04}-{copy:04}.jpg").hardlink_to(first)
    return root / "data"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything there is to write down."""
    files = read_photographs(options.photographs)
    load = os.getloadavg()[0]  # processes that wanted a core in the minute before: above 0, others took part
    result: dict[str, Any] = {"photographs": len(files), "decoders": decoders(files, options.rounds)}
    if options.peer_python:
        with tempfile.TemporaryDirectory() as folder:
            data = write_folders(files, options.copies, Path(folder))
            result |= race(data, options)
    from senet.training import environment

    return {
        "what": "JPEG files to normalised float32 batches: random resized crop to 224, mirror",
        "batch": options.batch,
        "workers": options.workers,
        "steps_a_round": options.steps,
        **result,
        "load": round(load, 2),
        "environment": environment.describe(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photographs", type=Path)
    parser.add_argument(
        "--peer-python", help="Python that has torchvision; without it only decoders are measured"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40, help="batches a round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--copies", type=int, default=40, help="how often each photograph is there")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/input_pipeline.json")
    parser.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.photographs, options.batch, options.workers)
        return
    from senet.files import write_json

    result = measure(options)
    write_json(options.output, result)
    result.pop("environment")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

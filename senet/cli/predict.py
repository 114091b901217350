"""What `senet predict` opens and prints."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.cli.app import say
from senet.predict import ImagePredictions, make_classifier
from senet.weights import catalogue
from senet.weights.architectures import find_architecture
from senet.zoo import DEFAULT, create_model, is_file

if TYPE_CHECKING:
    from senet.data.preprocess import Preprocess

COLUMNS = ("file", "rank", "label", "index", "probability", "error")
Opened = tuple[Any, "Preprocess | None", Sequence[str] | None]


def open_subject(
    weights: str | None,
    model: str | None,
    run: Path | None,
    exported: Path | None,
    runtime: str | None,
) -> Opened:
    """What the options name: an exported file in its runtime, else a Keras network (`open_network`)."""
    from senet.deploy.runtimes import open_runtime

    if exported is not None:
        if weights or model or run:
            raise ValueError("Give --exported FILE alone: the file knows its network, labels and images.")
        return open_runtime(exported, runtime), None, None
    if runtime not in (None, "keras"):
        raise ValueError(
            f"--runtime {runtime} runs exported files: senet export TAG OUT, then --exported OUT. Received: "
            "no --exported."
        )
    return open_network(weights, model, run)


def check_inputs(images: Sequence[Path] | None, stdin: str | None, formats: bool) -> None:
    """ValueError unless images come from one place; a stream has its own format."""
    if bool(images) == (stdin is not None):
        raise ValueError("Give image files or folders, or --stdin paths, or --stdin frames: one of them.")
    if stdin is not None and formats:
        raise ValueError("A stream is answered in JSON lines: leave --csv and --json out.")


def follow(opened: Opened, kind: str, top: int) -> None:
    """Answer a stream on standard input, a JSON line an image as it comes.

    ValueError for a stream of another kind. A stream that breaks off ends in a message and exit code 1, as
    does one with images that could not be read.
    """
    from senet.deploy.stream import BrokenStream, classify_stream, read_stream

    network, preprocess, labels = opened
    sources = read_stream(sys.stdin.buffer, kind)
    failed = 0
    try:
        for result in classify_stream(make_classifier(network, top, preprocess, labels), sources):
            failed += bool(result.error)
            print(printable(json.dumps(records([result])[0], ensure_ascii=False)), flush=True)
    except BrokenStream as error:
        say(f"senet: {error}")
        sys.exit(1)
    if failed:
        say(f"senet: {failed} image{'s were' if failed > 1 else ' was'} not read; the lines say why.")
        sys.exit(1)


def open_network(weights: str | None, model: str | None, run: Path | None) -> Opened:
    """A network, its preprocessing and its labels (None: what `senet.predict` takes by default).

    Of a published weight set, whose tag says which network it is, or of a finished run. ValueError unless it
    is one of the two.
    """
    if (weights is None) == (run is None):
        raise ValueError(
            "Give --weights TAG (`senet list --weights` has them all) or --run FOLDER, of a finished run. "
            f"Received: {'both' if run else 'neither'}."
        )
    if run is not None:
        return open_run(run)
    weights = str(weights)
    if model is None:
        if weights == DEFAULT or is_file(weights):
            raise ValueError(f"Give --model NAME: {weights!r} does not say which network it is for.")
        entry = catalogue.find(weights)
        model = find_architecture(f"{entry.source}/{entry.architecture}").model
    return create_model(model, weights=weights), None, None


def open_run(run: Path) -> Opened:
    """The network of a run; images are resized and cut as its test images were."""
    from senet.evaluate import as_tested, load_run
    from senet.training.run_folder import RunFolder

    network, preprocess, names = load_run(run)
    height, width = network.input_shape[1:3]
    if height != width:
        raise ValueError(f"Images are cut to a square. Received: a network that takes {width}x{height}.")
    return network, as_tested(preprocess, RunFolder(run).read_config().data, height), names


def records(results: Sequence[ImagePredictions]) -> list[dict[str, Any]]:
    """One object an image, for JSON."""
    return [
        {
            "file": result.source,
            "predictions": [dataclasses.asdict(prediction) for prediction in result],
            "error": result.error,
        }
        for result in results
    ]


def csv_text(results: Sequence[ImagePredictions]) -> str:
    """One row a prediction, best first, ranks from 1; one row with `error` for a file that was not read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        if result.error:
            writer.writerow((result.source, "", "", "", "", result.error))
        for rank, found in enumerate(result, start=1):
            writer.writerow((result.source, rank, found.label, found.index, found.probability, ""))
    return text.getvalue()


def human_text(results: Sequence[ImagePredictions]) -> str:
    """Each file that was read, with its classes below it."""
    lines = []
    for result in results:
        if not result.error:
            lines += [result.source, *(f"  {found.probability:6.1%}  {found.label}" for found in result)]
    return "".join(f"{line}\n" for line in lines)


def show(results: Sequence[ImagePredictions], as_csv: bool) -> None:
    """Print the results on stdout."""
    sys.stdout.write(printable(csv_text(results) if as_csv else human_text(results)))


def name_errors(results: Sequence[ImagePredictions]) -> int:
    """Name on stderr the files that were not read; their number."""
    errors = [result.error for result in results if result.error]
    if errors:
        lines = "".join(f"\n  {error}" for error in errors)
        print(
            printable(f"senet: {len(errors)} of {len(results)} images were not read:{lines}"), file=sys.stderr
        )
    return len(errors)


def printable(text: str) -> str:
    """`text`, with the bytes of a file name that are no UTF-8 written out: a stream would refuse them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

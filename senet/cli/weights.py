"""What `senet list --weights` and `senet convert` do and print."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from senet.cli.tables import print_table, shown
from senet.errors import did_you_mean
from senet.weights import catalogue
from senet.weights.architectures import ARCHITECTURES, find_architecture
from senet.weights.convert import source_network
from senet.weights.peers import compare as compare_with_peer
from senet.zoo import KERAS_FILES, convert, key, to_checkpoint


def weight_rows(pattern: str) -> list[dict[str, Any]]:
    """The catalogue's entries whose tag or network matches; ValueError where none does."""
    rows = [
        {"model": ARCHITECTURES[key(entry)].model, **dataclasses.asdict(entry), "status": status(entry)}
        for entry in catalogue.matching()
    ]
    fitting = {entry.tag for entry in catalogue.matching(pattern)}
    fitting |= {row["tag"] for row in rows if fnmatch.fnmatchcase(row["model"], pattern)}
    if not fitting:
        known = [*(row["tag"] for row in rows), *(row["model"] for row in rows)]
        raise ValueError(f"No weight set matches {pattern!r}.{did_you_mean(pattern, known)}")
    return [row for row in rows if row["tag"] in fitting]


def status(entry: catalogue.WeightsEntry) -> str:
    """How the weights can be had."""
    if entry.downloadable:
        return "download"
    return "by hand" if entry.published else "never published"


def print_weights(rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of `senet list --weights`."""
    defaults = set(catalogue.DEFAULT_TAGS.values())
    body = [
        (
            row["tag"] + (" *" if row["tag"] in defaults else ""),
            row["model"],
            row["dataset"],
            f"{row['classes']:,}",
            f"{row['image_size']}",
            f"{row['parameters'] / 1e6:.2f} M",
            shown(row["top1_error"], ".2f", ""),
            shown(row["top5_error"], ".2f", ""),
            row["licence"],
            row["status"],
        )
        for row in rows
    ]
    columns = (
        "Tag",
        "Network",
        "Data",
        "Classes",
        "Image",
        "Parameters",
        "Top-1 error",
        "Top-5 error",
        "Licence",
        "",
    )
    print_table(
        columns, body, title="Published weights; errors in percent, single crop, as their source states them"
    )
    print(
        '* what weights="imagenet" means for its network. "by hand": the file must be fetched from its page.'
    )


def run_conversion(file: Path, architecture: str, out: Path, *, compare: bool) -> dict[str, Any]:
    """Convert `file` into `out`, in the direction that their suffixes say; the report as plain data."""
    found = find_architecture(architecture)
    if file.name.endswith(KERAS_FILES):
        return to_checkpoint(load_keras_file(file, architecture), out, architecture).to_json()
    if not out.name.endswith(KERAS_FILES):
        raise ValueError(
            f"A checkpoint becomes a Keras file: OUT must end in {' or '.join(KERAS_FILES)}. Received: {out}."
        )
    network, report = convert(file, found)
    (network.save if out.suffix == ".keras" else network.save_weights)(out)
    difference = compare_with_peer(file, found, network) if compare else None
    return dataclasses.replace(report, difference=difference).to_json()


def load_keras_file(file: Path, architecture: str) -> Any:
    """The architecture's network, filled from a Keras weights file with any number of classes."""
    from senet.models.weights_file import HEAD, fill, read_layers

    if not file.is_file():
        raise FileNotFoundError(f"There is no such file: {file}")
    stored, found = read_layers(file), find_architecture(architecture)
    head = {found.names(HEAD)[-1]: stored[HEAD][-1]} if HEAD in stored else {}
    network = source_network(found, head)
    fill(network, stored, origin=str(file))
    return network


def print_conversion(result: Mapping[str, Any], out: Path) -> None:
    """The report of a conversion in words."""
    rules = result["rules"]
    print(
        f"{result['architecture']} → {result['model']}: {len(rules)} tensors, each used once. Written: {out}"
    )
    if result["changes"]:
        print("In its source's variant: " + ", ".join(f"{k}={v}" for k, v in result["changes"].items()))
    for text in result["mended"]:
        print(f"Mended: {text}")
    if result["left_out"]:
        print(f"Without counterpart in Keras: {len(result['left_out'])} counters of BatchNorm steps")
    difference = result["difference"]
    if difference and "not_measured" in difference:
        print(f"Not measured against its source: {difference['not_measured']}")
    elif difference:
        versions = ", ".join(f"{name} {version}" for name, version in difference["versions"].items())
        print(
            f"Beside {difference['runtime']}, {difference['images']} images of {difference['image_size']}²: "
            f"relative difference {difference['relative_difference']:.1e}, "
            f"top-1 {'equal' if difference['same_top1'] else 'NOT equal'} ({versions})"
        )

"""Put the results of the benchmarks with and without SE into README.md.

python docs/make_readme.py
"""

from __future__ import annotations

import re
from pathlib import Path

from senet.bench.cifar import read_records, summarize_notes
from senet.bench.report import COLUMNS, cells, differences, markdown_table
from senet.bench.statistics import compare, summarize
from senet.files import read_json, write_text

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
# name of the section in README.md: (folder of results, its curves)
SECTIONS = {
    "cifar10": (Path("benchmarks/results/cifar10_two_cores"), "curves_se_resnet_20_cifar.png"),
    "tiny_imagenet": (Path("benchmarks/results/tiny_imagenet"), "curves_se_resnet_18.png"),
}
SECTION = re.compile(
    r"(?<=: written by docs/make_readme.py -->\n)(?P<text>.*?)(?=<!-- end (?P<name>\w+) -->)", re.DOTALL
)


def section(results: Path, curves: str) -> str:
    """The table, the difference and the curves, with where they come from."""
    records = read_records(ROOT / results)
    environment = records[0]["environment"]
    note = read_json(ROOT / results / "grid.json")["note"]
    machine, versions = environment["machine"], environment["versions"]
    lines = [
        *markdown_table(COLUMNS, [cells(row) for row in summarize(records)]),
        "",
        *differences(compare(records)),
        f"{summarize_notes(records)}. {note.removesuffix('.')}. ± is the sample standard deviation over seeds. Measured on {machine['processor']}, {machine['cores']} cores, with Keras "
        f"{versions['keras']} on {environment['engine']} {versions[environment['engine']]}; "
        f"[report with every run]({results}/report.md).",
        "",
        f"![Accuracy and loss with and without SE]({results}/{curves})",
    ]
    return "\n".join(lines) + "\n"


def page() -> str:
    """README.md with its sections as the result files have them."""
    text = README.read_text(encoding="utf-8")
    return SECTION.sub(lambda found: section(*SECTIONS[found["name"]]), text)


if __name__ == "__main__":
    write_text(README, page())

"""Put the results of the CIFAR-10 benchmark into README.md.

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
RESULTS = Path("benchmarks/results/cifar10_two_cores")
SECTION = re.compile(r"(?<=<!-- cifar10: written by docs/make_readme.py -->\n).*?(?=<!-- end -->)", re.DOTALL)


def section() -> str:
    """The table, the difference and the curves, with where they come from."""
    records = read_records(ROOT / RESULTS)
    environment = records[0]["environment"]
    machine, versions = environment["machine"], environment["versions"]
    lines = [
        *markdown_table(COLUMNS, [cells(row) for row in summarize(records)]),
        "",
        *differences(compare(records)),
        f"{summarize_notes(records)}. {read_json(ROOT / RESULTS / 'grid.json')['note']} ± is the sample standard "
        f"deviation over seeds. Measured on {machine['processor']}, {machine['cores']} cores, with Keras "
        f"{versions['keras']} on {environment['engine']} {versions[environment['engine']]}; "
        f"[report with every run]({RESULTS}/report.md).",
        "",
        f"![Accuracy and loss with and without SE]({RESULTS}/curves_se_resnet_20_cifar.png)",
    ]
    return "\n".join(lines) + "\n"


def page() -> str:
    """README.md with the section as the result files have it."""
    return SECTION.sub(lambda _: section(), README.read_text(encoding="utf-8"))


if __name__ == "__main__":
    write_text(README, page())

"""Count every network and write the golden table again: `python tests/golden/update.py`.

Read the diff before you commit it: a number moves only when a network does.
"""

import dataclasses
import json
from pathlib import Path

import senet
from senet.complexity import TABLE, Complexity


def count(name: str) -> Complexity:
    return senet.complexity(senet.create_model(name))


def main() -> None:
    rows = {name: dataclasses.asdict(count(name)) for name in senet.list_models()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    Path(str(TABLE)).write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

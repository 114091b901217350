"""Pages that a command writes are as it would write them now, and what they say runs."""

from __future__ import annotations

import importlib.util
import re

import pytest

from senet.training.config import recipe_names


def load(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("script", "page"),
    [
        ("make_complexity.py", "docs/complexity.md"),
        ("make_models.py", "docs/models.md"),
        ("make_parity.py", "docs/parity.md"),
        ("make_performance.py", "docs/performance.md"),
        ("make_exports.py", "docs/exports.md"),
        ("make_readme.py", "README.md"),
        ("make_training.py", "docs/training.md"),
    ],
)
def test_a_written_page_is_up_to_date(repo, script, page):
    assert load(repo / "docs" / script).page() == (repo / page).read_text(encoding="utf-8"), (
        f"run: python docs/{script}"
    )


def test_links_of_the_pages_exist(repo):
    pages = [repo / "README.md", repo / "CONTRIBUTING.md", *(repo / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_training_page_names_every_recipe(repo):
    page = (repo / "docs" / "training.md").read_text(encoding="utf-8")
    table = "".join(re.findall(r"^\| `.*$", page, re.MULTILINE))
    assert set(recipe_names()) <= set(re.findall(r"`(\w+)`", table))


def test_the_readmes_python_runs(repo):
    """Every line of the second Python block; the first needs images."""
    block = re.findall(r"```python\n(.*?)```", (repo / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    scope: dict[str, object] = {}
    for line in block.splitlines():
        code, _, promise = line.partition("#")
        if not code.strip():
            continue
        if code.startswith("import"):
            exec(code, scope)
            continue
        value = eval(code, scope)
        if promise.strip().isdigit():
            assert value == int(promise)


def test_recipes_begin_with_their_command_and_hardware(repo):
    for name in recipe_names():
        text = (repo / "senet" / "training" / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
        header = text[: text.index("\nmodel:")]
        assert re.search(r"^# Command: +senet ", header, re.MULTILINE), name
        for word in ("Hardware", "Hours", "Error"):
            assert re.search(rf"^# {word}: +\S", header, re.MULTILINE), (name, word)

"""The shape of the source tree: who may import whom, and how long things may be."""

import ast

import pytest

# From the bottom to the top: a module may import from its own part and from those before it.
ORDER = (
    "errors",
    "files",
    "machine",
    "page",
    "layers",
    "models",
    "data",
    "weights",
    "zoo",
    "complexity",
    "ablations",
    "training",
    "diagram",
    "scores",
    "confusion",
    "evaluate",
    "runs",
    "predict",
    "explain",
    "deploy",
    "bench",
    "doctor",
    "cli",
    "__main__",
)
MODULE_LINES, FUNCTION_LINES = 400, 60


@pytest.fixture(scope="module")
def trees(repo):
    """Every module but the root's `__init__`, parsed, by its dotted name without `senet.`."""
    found = {}
    for path in sorted((repo / "senet").rglob("*.py")):
        parts = path.relative_to(repo / "senet").with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            found[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    assert {"layers.squeeze_excite", "models.spec", "zoo", "complexity", "keras_fn"} <= found.keys()
    return found


def imported_parts(name, tree) -> set[str]:
    """The parts of senet that a module imports, wherever in it; "senet" is the root itself."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            root, _, rest = target.partition(".")
            if root == "senet":
                found.add(rest.partition(".")[0] or "senet")
    return found


def part_of(name: str) -> str:
    return name.partition(".")[0]


def test_every_part_has_its_place(trees):
    assert {part_of(name) for name in trees} - {"keras_fn"} <= set(ORDER)


def test_imports_only_point_down(trees):
    upward = [
        f"{name} imports {part}"
        for name, tree in trees.items()
        if part_of(name) != "keras_fn"
        for part in imported_parts(name, tree)
        if part not in ORDER[: ORDER.index(part_of(name)) + 1]
    ]
    assert upward == []


def test_keras_fn_imports_the_zoo_only(trees):
    parts = [imported_parts(name, tree) for name, tree in trees.items() if part_of(name) == "keras_fn"]
    assert set().union(*parts) == {"keras_fn", "zoo"}


def test_only_the_root_imports_keras_fn(trees, repo):
    root = ast.parse((repo / "senet" / "__init__.py").read_text(encoding="utf-8"))
    assert "keras_fn" in imported_parts("senet", root)
    others = [
        name
        for name, tree in trees.items()
        if part_of(name) != "keras_fn" and "keras_fn" in imported_parts(name, tree)
    ]
    assert others == []


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import senet", {"senet"}),
        ("from senet import zoo", {"zoo"}),
        ("import senet.cli.main", {"cli"}),
        ("def late():\n    from senet.data.cifar import read", {"data"}),
        ("import senetic\nfrom keras import layers", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source, parts):
    assert imported_parts("test", ast.parse(source)) == parts


def test_squeeze_excite_is_defined_once(trees):
    words = ("squeezeexcit", "squeezeandexcit", "seblock", "semodule", "selayer")
    classes = [
        (name, node.name)
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(word in node.name.lower().replace("_", "") for word in words)
    ]
    assert classes == [("layers.squeeze_excite", "SqueezeExcite")]


def test_modules_fit_on_a_few_screens(repo):
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in (repo / "senet").rglob("*.py")
    }
    assert {str(path): lines for path, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_functions_fit_on_one_screen(trees):
    functions = [
        (f"{name}.{node.name}", node.end_lineno - node.lineno + 1)
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert [function for function in functions if function[1] > FUNCTION_LINES] == []

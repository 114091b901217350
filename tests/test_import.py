"""What `import senet` brings along, and what its sources may not name."""

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

ENGINES = ("tensorflow", "jax", "torch")
# Each costs start-up time and is needed by one verb or another, never by the import.
LATE = {
    "matplotlib",
    "sklearn",
    "PIL",
    "scipy",
    "pandas",
    "typer",
    "pydantic",
    "yaml",
    "tensorboardX",
    "psutil",
    "requests",
    "huggingface_hub",
    "safetensors",
    *ENGINES,
}

PUBLIC = {
    "Complexity",
    "SENet_154",
    "SESpec",
    "SE_BN_Inception",
    "SE_ResNeXt_101",
    "SE_ResNeXt_50",
    "SE_ResNet_101",
    "SE_ResNet_152",
    "SE_ResNet_18",
    "SE_ResNet_34",
    "SE_ResNet_50",
    "complexity",
    "create_model",
    "export",
    "from_checkpoint",
    "list_models",
    "optimize_for_inference",
    "predict",
    "to_checkpoint",
    "train",
}

PROBE = """
import json, sys, warnings

if {engine!r} != "tensorflow":
    sys.modules["tensorflow"] = None  # as where it is not installed: an import of it fails
import keras
roots = lambda: {{name.partition(".")[0] for name, module in sys.modules.items() if module}}
before = roots()
warnings.filterwarnings("error", category=DeprecationWarning, module="senet")
import senet
new = roots() - before
public = [
    name for name, value in vars(senet).items()
    if name[0] != "_" and getattr(value, "__module__", "").startswith("senet")  # a module has none
]
network = senet.create_model("se_resnet_20_cifar", blocks=(1,), widths=(8,), stem_width=8)
output = keras.ops.convert_to_numpy(network(keras.ops.ones((1, 32, 32, 3))))
print(json.dumps({{
    "engine": keras.backend.backend(),
    "new": sorted(new),
    "public": sorted(public),
    "multiply_adds": senet.complexity(network).multiply_adds,
    "output": output[0].tolist(),
}}))
"""


@functools.cache
def probe(engine: str) -> dict:
    """What a fresh process with that engine sees."""
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(engine=engine)],
        env={**os.environ, "KERAS_BACKEND": engine},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("engine", ENGINES)
def test_import_brings_nothing_that_keras_does_not(engine):
    assert probe(engine)["engine"] == engine
    assert "senet" in probe(engine)["new"]
    assert LATE & set(probe(engine)["new"]) == set()


@pytest.mark.parametrize("engine", ENGINES)
def test_networks_run_on_every_engine_without_tensorflow(engine):
    """On JAX and PyTorch the probe runs where TensorFlow cannot be imported."""
    assert sum(probe(engine)["output"]) == pytest.approx(1, abs=1e-5)
    assert probe(engine)["multiply_adds"] > 1e5


def test_public_names_are_the_documented_ones():
    assert set(probe("tensorflow")["public"]) == PUBLIC


def sources(repo):
    return sorted((repo / "senet").rglob("*.py"))


@pytest.mark.parametrize("forbidden", [r"keras\.src", r"tensorflow\.python", r"\bLambda\("])
def test_sources_use_the_public_api_and_no_lambda_layer(repo, forbidden):
    assert len(sources(repo)) > 10
    assert [
        str(path) for path in sources(repo) if re.search(forbidden, path.read_text(encoding="utf-8"))
    ] == []


def test_types_and_data_files_are_in_the_package(repo):
    assert (repo / "senet" / "py.typed").is_file()
    packaged = (
        (repo / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.setuptools.package-data]")[2]
    )
    assert '"py.typed"' in packaged
    assert '"complexity.json"' in packaged

"""docs/make_performance.py: what it makes of results, and of those that are missing."""

from __future__ import annotations

import importlib.util
import json

import pytest

from senet.bench.subjects import Subject, matmul
from tests.bench.test_throughput_report import record, result


@pytest.fixture
def script(repo, tmp_path):
    """The script, with its results and its chart below a folder of the test."""
    path = repo / "docs" / "make_performance.py"
    spec = importlib.util.spec_from_file_location("make_performance", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT = tmp_path
    return module


def put(script, file, value):
    path = script.ROOT / script.RESULTS / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def test_without_results_every_target_waits_and_every_command_stands_there(script):
    page = script.page()
    assert page.count("not measured yet") == len(script.TARGETS) == 10
    for command in script.COMMANDS.values():
        assert command in page


def test_targets_are_read_from_a_comparison(script):
    ours = Subject(model="se_resnet_50", engine="tensorflow", variant="optimized")
    timm = Subject(model="legacy_seresnet50", runtime="eager", source="timm")
    runs = [
        record(matmul("numpy"), [0.1], [0.1]),
        record(ours, [0.5], [0.5]),
        record(ours.sibling(runtime="openvino", engine=None), [0.4], [0.4]),
        record(timm, [0.7], [0.7], versions={"timm": "1.0"}),
        record(timm.sibling(runtime="channels last"), [0.6], [0.6], versions={"timm": "1.0"}),
    ]
    put(script, script.SE50, result(*runs))
    page = script.page()
    best, keras, ceiling = page.splitlines()[page.splitlines().index("## What was to be reached") + 4 :][:3]
    assert "OpenVINO, optimised over timm, channels last" in best
    assert "| **1.50** | 1.50 to 1.50 |" in best
    assert "[yes](" in best
    assert "| **1.20** |" in keras
    assert "[no](" in keras
    assert f"| **{8 / 0.4 * 4e9 * 0.1 / 2048**3:.2f}** |" in ceiling
    assert "## SE-ResNet-50" in page
    assert "timm's side: timm 1.0" in page
    assert page.count("not measured yet") == len(script.TARGETS) - 3

    script.draw_chart(script.load(script.SE50))
    assert (script.ROOT / script.CHART).read_bytes().startswith(b"\x89PNG")


def test_the_cost_of_se_is_that_of_the_optimised_networks(script):
    se = Subject(model="se_resnet_50", engine="tensorflow", variant="optimized")
    fast = se.sibling(runtime="openvino", engine=None)
    runs = [
        *(record(se, [0.52]), record(se.sibling(model="resnet_50"), [0.5])),
        *(record(fast, [0.42]), record(fast.sibling(model="resnet_50"), [0.4])),
        *(
            record(se.sibling(variant="original"), [0.8]),
            record(se.sibling(variant="original", model="resnet_50"), [0.5]),
        ),
    ]
    put(script, script.COST, result(*runs))
    page = script.page()
    assert "(OpenVINO, optimised) | ≤ 3.0 % | **5.0 %** |" in page
    assert "(Keras on TensorFlow, optimised) | ≤ 3.0 % | **4.0 %** |" in page
    assert "SE costs +60.0 %" in page  # as built, in the section below


def test_training_and_eight_bits(script):
    ours = Subject(model="se_resnet_20_cifar", engine="jax", task="train", batch=128)
    plain = ours.sibling(source="plain Keras", engine="torch")
    put(
        script,
        script.TRAIN20,
        result(record(ours, [0.5]), record(ours.sibling(engine="torch"), [0.9]), record(plain, [0.7])),
    )
    whole = Subject(model="se_resnet_50", runtime="openvino", variant="optimized")
    slow = whole.sibling(runtime="onnxruntime")
    runs = [record(whole, [0.4]), record(whole.sibling(precision="int8"), [0.2])]
    runs += [record(slow, [0.5]), record(slow.sibling(precision="int8"), [0.1])]
    put(script, script.INT8, result(*runs))
    page = script.page()
    assert "(Keras on JAX over plain Keras on PyTorch) | ≥ 1.20 | **1.40** |" in page
    assert "(OpenVINO, optimised, int8 over OpenVINO, optimised) | ≥ 1.30 | **2.00** |" in page

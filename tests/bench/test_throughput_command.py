"""`senet benchmark throughput`: what it refuses before it measures, and what it prints of a result."""

from __future__ import annotations

import sys

import pytest

from senet import cli
from senet.bench.throughput_report import write_results
from tests.bench.test_throughput_report import WHOLE


def run(monkeypatch, *arguments: object) -> int:
    """Run the command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["senet", "benchmark", "throughput", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "se_resnet_51"], "'se_resnet_50'"),
        (["--models", "resnet_18", "--runtimes", "tensorrt"], "onnxruntime, openvino, litert"),
        (["--models", "resnet_18", "--train", "--runtimes", "openvino"], "Only Keras trains"),
        (["--models", "resnet_18", "--rounds", "0"], "`rounds` must be at least 1"),
        (["--models", "resnet_18", "--calibration", "{tmp}/none"], "is not a folder of images"),
        (["--redraw", "--out", "{tmp}/none"], "holds no speed comparison"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(monkeypatch, capsys, tmp_path, arguments, words):
    arguments = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    assert run(monkeypatch, "--out", tmp_path / "out", *arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.startswith("senet: ")
    assert not (tmp_path / "out").exists()


def test_a_result_is_printed_and_drawn_again(monkeypatch, capsys, tmp_path):
    write_results(WHOLE, tmp_path, "Speeds")
    (tmp_path / "index.html").unlink()
    assert run(monkeypatch, "--redraw", "--out", tmp_path) == 1  # one of its subjects was not measured
    captured = capsys.readouterr()
    assert "se_resnet_50, keras on tensorflow, optimized, batch 8" in captured.out
    assert "SE costs +6.0 % (+6.0 to +6.0): se_resnet_50" in captured.err
    assert "Optimising gives 1.13 times the speed" in captured.err
    assert "not measured: se_resnet_50, litert, optimized, batch 8: it broke" in captured.err
    assert (tmp_path / "index.html").exists()


def test_it_measures_with_a_ceiling_beside(monkeypatch, capsys, tmp_path):
    """The options reach the comparison, which is tested apart."""
    asked = []

    def compared(subjects, settings, *, say):
        asked.append((subjects, settings))
        return WHOLE

    monkeypatch.setattr("senet.cli.throughput.run_comparison", compared)
    options = ["--runtimes", "onnxruntime", "--batch-sizes", "4", "--precisions", "int8", "--threads", "1"]
    run(monkeypatch, "--models", "se_resnet_18", *options, "--rounds", "3", "--out", tmp_path)
    ((subjects, settings),) = asked
    assert (settings.rounds, settings.threads) == (3, 1)
    assert {s.engine for s in subjects if s.runtime == "matmul"} >= {"numpy"}
    rest = [s for s in subjects if s.runtime != "matmul"]
    assert {(s.model, s.runtime, s.batch, s.precision) for s in rest} == {
        ("se_resnet_18", "onnxruntime", 4, "int8")
    }
    assert (tmp_path / "throughput.json").exists()
    assert "subjects, 3 rounds, 1 threads each" in capsys.readouterr().err

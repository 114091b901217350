"""Speed comparisons: real processes that take turns, smaller batches when memory runs out, what fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from senet.bench import protocol
from senet.bench.protocol import MEMORY_SIGNALS, Energy, about_memory, burst
from senet.bench.subjects import Grid, Subject, check_installed, matmul, optimized_pairs, se_pairs
from senet.bench.throughput import Settings, run_comparison
from senet.bench.throughput_statistics import summarize
from senet.bench.workers import Launch, Worker, WorkerError

# A subject whose step takes the milliseconds its model's name says, served by the real protocol, without an
# engine; at a batch of 16 and more it asks for more memory than any machine has.
SLEEPER = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("protocol", sys.argv[1])
protocol = importlib.util.module_from_spec(spec)
spec.loader.exec_module(protocol)
turns = open(sys.argv[2], "a")

def opened(question):
    print("noise of a library")
    if question["model"] == "broken":
        raise OSError("no such network")
    if question["model"] == "killed" and question["batch"] > 2:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    if question["batch"] >= 16:
        bytearray(2**60)
    def step():
        turns.write(question["model"] + "\\n")
        turns.flush()
        time.sleep(float(question["model"]) / 1000 if question["model"][0].isdigit() else 0)
    return step

protocol.serve(opened)
"""


@pytest.fixture
def sleepers(tmp_path):
    """A launcher of such subjects, and the file that gets a line for each step."""
    script, turns = tmp_path / "sleeper.py", tmp_path / "turns"
    script.write_text(SLEEPER)
    return lambda subject: Launch([sys.executable, str(script), protocol.__file__, str(turns)]), turns


def sleeper(model: str, batch: int = 2) -> Subject:
    return Subject(model=model, runtime="sleep", source="test", batch=batch)


def test_subjects_take_turns_to_and_fro(sleepers):
    launch, turns = sleepers
    subjects = [sleeper("5"), sleeper("20")]
    result = run_comparison(subjects, Settings(rounds=2, burst_seconds=0.0, threads=1), launch=launch)
    opening = ["5"] * 3 + ["20"] * 3  # the first step, and two to see how long one takes
    assert turns.read_text().split() == [*opening, *["5", "5", "20", "20"], *["20", "20", "5", "5"]]

    fast, slow = summarize(result)
    assert fast.rate.median > 2 * slow.rate.median
    assert 2 / 0.04 < slow.rate.median < 2 / 0.02
    assert (slow.rate.n, slow.steps) == (2, 2)
    assert 0.02 < slow.p50 <= slow.p90 <= slow.p99
    assert slow.start_seconds > 0.02
    assert 5 < slow.peak_mib < 200  # of a bare Python, not of this process with its engine
    assert result["environment"]["machine"]["cores"] >= 1


def test_a_turn_is_as_long_as_asked(sleepers):
    launch, _ = sleepers
    result = run_comparison([sleeper("5")], Settings(rounds=1, burst_seconds=0.05, threads=1), launch=launch)
    steps = len(result["subjects"][0]["rounds"][0]["seconds"])
    assert 2 <= steps <= 10


@pytest.mark.parametrize("model", ["1", pytest.param("killed", marks=pytest.mark.slow)])
def test_memory_that_runs_out_halves_the_batch(sleepers, model):
    launch, _ = sleepers
    lines = []
    result = run_comparison(
        [sleeper(model, batch=32)], Settings(rounds=1, threads=1), launch=launch, say=lines.append
    )
    (record,) = result["subjects"]
    assert (record["asked_batch"], record["batch"]) == (32, 8 if model == "1" else 2)
    assert record["error"] is None
    assert any("memory ran out; again with a batch of 16" in line for line in lines)


def test_a_smaller_batch_that_is_there_already_is_not_measured_twice(sleepers):
    launch, _ = sleepers
    settings = Settings(rounds=1, burst_seconds=0, threads=1)
    result = run_comparison([sleeper("1", 8), sleeper("1", 16)], settings, launch=launch)
    assert [record["error"] is None for record in result["subjects"]] == [True, False]
    assert "8 is measured already" in result["subjects"][1]["error"]


def test_what_fails_stops_nothing_else(sleepers):
    launch, _ = sleepers
    settings = Settings(rounds=1, burst_seconds=0, threads=1)
    result = run_comparison([sleeper("broken"), sleeper("1")], settings, launch=launch)
    broken, whole = result["subjects"]
    assert "no such network" in broken["error"]
    assert whole["error"] is None
    assert [row.subject.model for row in summarize(result)] == ["1"]


def test_a_process_that_dies_between_turns_is_out(sleepers):
    launch, _ = sleepers
    worker = Worker(launch(sleeper("1")), threads=1)
    worker.ask(do="open", model="1", batch=1)
    worker.process.kill()
    worker.process.wait()
    with pytest.raises(WorkerError, match="ended with code -9"):
        worker.ask(do="burst", warm=0, repeats=1)
    worker.stop()


def test_the_end_of_a_process_names_its_last_words():
    worker = Worker(Launch([sys.executable, "-c", "raise SystemExit('no such module')"]), threads=1)
    with pytest.raises(WorkerError, match="code 1: no such module") as caught:
        worker.ask(do="open")
    assert not caught.value.memory
    worker.stop()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is Linux'")
def test_the_memory_limit_is_real():
    """An allocation of half a gibibyte under a limit of a quarter, and under one of two."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import protocol\n"
        "protocol.limit_memory(float(sys.argv[2])); bytearray(2**29)"
    )
    folder = str(Path(protocol.__file__).parent)
    for mib, word in ((256, "MemoryError"), (2048, "")):
        done = subprocess.run([sys.executable, "-c", code, folder, str(mib)], capture_output=True, text=True)
        assert word in done.stderr
        assert (done.returncode == 0) == (not word)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("OOM when allocating tensor with shape[65536,224,224,64]"), True),
        (ValueError("the shapes do not fit"), False),
        (OSError("no room on the zoom stage"), False),
    ],
)
def test_engines_words_for_want_of_memory(error, memory):
    assert about_memory(error) == memory


def test_killed_processes_wanted_memory():
    import signal

    assert signal.SIGKILL in MEMORY_SIGNALS
    assert signal.SIGTERM not in MEMORY_SIGNALS


def powercap(root, *microjoules, maximum=10_000_000):
    for number, value in enumerate(microjoules):
        for name in (f"intel-rapl:{number}", f"intel-rapl:{number}:0"):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / "energy_uj").write_text(f"{value}\n")
            (root / name / "max_energy_range_uj").write_text(f"{maximum}\n")


def test_energy_is_of_the_packages_and_goes_round(tmp_path):
    powercap(tmp_path, 1_000_000, 9_000_000)
    energy = Energy(tmp_path)
    powercap(tmp_path, 3_000_000, 1_000_000)
    assert energy.joules() == pytest.approx(2.0 + 2.0)  # the second went over its 10 J
    assert Energy(tmp_path / "none").joules() is None


def test_a_burst_times_only_its_repeats():
    calls = []
    answer = burst(lambda: calls.append(1), warm=2, repeats=3)
    assert (len(calls), len(answer["seconds"])) == (5, 3)


def test_the_grid_leaves_out_what_makes_no_sense():
    grid = Grid(
        models=("se_resnet_20_cifar", "resnet_20_cifar"),
        engines=("tensorflow", "jax"),
        runtimes=("keras", "onnxruntime"),
        precisions=("float32", "bfloat16", "int8"),
        batches=(4,),
    )
    kinds = {(s.runtime, s.engine, s.precision) for s in grid.subjects()}
    assert kinds == {
        *(("keras", engine, kind) for engine in ("tensorflow", "jax") for kind in ("float32", "bfloat16")),
        *(("onnxruntime", None, kind) for kind in ("float32", "int8")),
    }
    subjects = grid.subjects()
    assert len(subjects) == len(set(subjects)) == 6 * 2 * 2
    assert len({s.label for s in subjects}) == len(subjects)
    for se, plain in se_pairs(subjects):  # timed one after the other
        assert subjects.index(plain) - subjects.index(se) == 1
    assert len(se_pairs(subjects)) == len(optimized_pairs(subjects)) == 12
    assert all(s.variant == "original" for s in Grid(models=("resnet_18",), task="train").subjects())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"models": ("se_resnet_51",)}, "'se_resnet_50'"),
        ({"engines": ("theano",)}, "tensorflow, jax, torch"),
        ({"runtimes": ("keras", "keras")}, "different"),
        ({"batches": (0,)}, "at least one image"),
        ({"precisions": ("int8",)}, "No combination"),
        ({"task": "train", "runtimes": ("openvino",)}, "Only Keras trains"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Grid(**{"models": ("resnet_18",), **fields})


def test_settings_that_cannot_be_are_refused():
    for field, value in (("rounds", 0), ("threads", 0), ("burst_seconds", -1.0), ("image_size", 0)):
        with pytest.raises(ValueError, match=field):
            Settings(**{field: value})


def test_a_missing_runtime_names_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"openvino is not installed.*'senet\[export\]'"):
        check_installed([Subject(model="resnet_18", runtime="openvino")])
    with pytest.raises(ImportError, match=r"jax is not installed.*'senet\[jax\]'"):
        check_installed([Subject(model="resnet_18", engine="jax")])


def test_a_worker_of_another_python_imports_nothing_of_ours(repo):
    """The peers' script serves the protocol by its path; an unknown runtime is an answer, not an end."""
    code = "import sys, runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    script = str(repo / "benchmarks" / "peer_worker.py")
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nassert 'senet' not in sys.modules", script, "1", "."],
        input=json.dumps({"do": "burst", "warm": 0, "repeats": 1}) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "open comes first" in json.loads(done.stdout)["error"]


@pytest.mark.slow
def test_real_networks_in_two_runtimes():
    """All of it together: files made, processes warm, a ceiling beside them, an engine's own memory."""
    grid = Grid(
        models=("se_resnet_20_cifar",),
        runtimes=("keras", "onnxruntime"),
        batches=(2,),
        variants=("optimized",),
    )
    settings = Settings(rounds=2, burst_seconds=0.0, image_size=16)
    result = run_comparison([matmul("numpy"), *grid.subjects()], settings)
    rows = summarize(result)
    assert [row.subject for row in rows] == grid.subjects()
    for row in rows:
        assert row.rate.least > 0
        assert row.ceiling is not None
        assert 0 < row.ceiling.median < 5  # a small product under load is no ceiling, but of its order
        assert row.peak_mib > 100
    record = result["subjects"][1]
    assert record["image_shape"] == [16, 16, 3]
    assert 41_000_000 / 5 < record["multiply_adds"] < 41_000_000 / 3
    assert {"onnxruntime"} <= result["runtimes"].keys()


@pytest.mark.slow
def test_a_real_network_without_memory_gets_a_smaller_batch():
    """TensorFlow needs some 0.6 GiB more for 2048 images than for 1024; the limit lies between."""
    subject = Subject(model="resnet_20_cifar", engine="tensorflow", batch=2048)
    result = run_comparison([subject], Settings(rounds=1, burst_seconds=0.0, memory_mib=800.0))
    (record,) = result["subjects"]
    assert record["error"] is None
    assert record["asked_batch"] == 2048
    assert record["batch"] < 2048

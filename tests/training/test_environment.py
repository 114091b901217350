"""What is decided by the machine and the engine."""

import pytest

from senet.files import read_json
from senet.training import environment


@pytest.mark.engine
def test_a_step_is_compiled_where_that_was_measured_to_be_faster(repo):
    if environment.accelerators():
        pytest.skip("measured on a CPU")
    verdicts = read_json(repo / "benchmarks" / "results" / "jit_se_resnet_20_cifar.json")["verdicts"]
    repaid = verdicts[environment.engine()]["repaid_after_steps"]
    assert environment.jit_compile() == (repaid != "never")

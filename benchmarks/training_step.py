"""A training step of ours beside that of others: images a second, forward to update, in one interleaved run.

    python benchmarks/training_step.py --peer-python PY                 # SE-ResNet-50, batch 8, beside timm
    python benchmarks/training_step.py --peer-python PY --network se_resnet_20_cifar --batch 128

The ImageNet networks stand beside timm's, eager and channels last (PY has torch and timm); the CIFAR network,
on all three engines, beside the same network written with Keras' layers alone, on PyTorch and TensorFlow. All
with SGD, momentum 0.9 and weight decay; ours with the optimiser and the loss of its recipes.
"""

from __future__ import annotations

import argparse

from peers import RESULTS, TIMM, add_options, compare, finish

from senet.bench.subjects import ENGINES, Subject

CIFAR = "se_resnet_20_cifar"


def subjects_of(network: str, batch: int) -> list[Subject]:
    """Who is compared."""
    mine = Subject(model=network, batch=batch, task="train")
    if network == CIFAR:
        return [
            *(mine.sibling(engine=engine) for engine in ENGINES),
            *(mine.sibling(engine=engine, source="plain Keras") for engine in ("torch", "tensorflow")),
        ]
    other = mine.sibling(model=TIMM[network], source="timm")
    ways = [other.sibling(runtime=runtime) for runtime in ("eager", "channels last")]
    return [mine.sibling(engine="tensorflow"), *ways]


def main() -> None:
    """Measure one network and write results/training_step_NETWORK.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, (*TIMM, CIFAR))
    options = parser.parse_args()
    result = compare(subjects_of(options.network, options.batch), options, rounds=12)
    finish(result, options.output or RESULTS / f"training_step_{options.network}.json")


if __name__ == "__main__":
    main()

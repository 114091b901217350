"""What a speed comparison compares: networks by engine, runtime, precision and batch."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from senet.zoo import get_spec, plain_twin

ENGINES = ("tensorflow", "jax", "torch")
RUNTIMES = ("keras", "onnxruntime", "openvino", "litert")
PRECISIONS = ("float32", "bfloat16", "float16", "int8")
VARIANTS = ("original", "optimized")
# module: the extra of this package that brings it
EXTRAS = {"tensorflow": "", "jax": "[jax]", "torch": "[torch]"}
RUNTIME_MODULES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """One thing that is timed, in a process of its own.

    `engine` is Keras' engine, or None where an exported file is run, which needs none. "original" is the
    network as it was built, "optimized" what `senet.optimize_for_inference` makes of it. `task` is "infer"
    (images in, answers out) or "train" (a whole step with its update). `source` is "senet", or who else's
    network it is. `jit` says of a training step whether it is compiled (by XLA, on PyTorch by inductor);
    None: as `senet.training.environment.jit_compile` has it.
    """

    model: str
    runtime: str = "keras"
    engine: str | None = None
    batch: int = 8
    precision: str = "float32"
    variant: str = "original"
    task: str = "infer"
    source: str = "senet"
    jit: bool | None = None

    @property
    def label(self) -> str:
        """A name for people, which tells subjects of one comparison apart."""
        how = self.runtime if self.engine in (None, self.runtime) else f"{self.runtime} on {self.engine}"
        if self.runtime == "matmul":
            return f"{self.model} {self.batch}³, {self.engine}, {self.precision}"
        parts = [self.model if self.source == "senet" else f"{self.source} {self.model}", how]
        if self.source == "senet" and self.task == "infer":
            parts.append(self.variant)
        if self.precision != "float32":
            parts.append(self.precision)
        if self.jit is not None:
            parts.append("compiled" if self.jit else "not compiled")
        return ", ".join([*parts, f"batch {self.batch}"])

    def sibling(self, **changes: Any) -> Subject:
        """The subject that differs in these fields only."""
        return dataclasses.replace(self, **changes)


def matmul(engine: str, *, accelerator: bool = False, precision: str = "float32") -> Subject:
    """The product of two square matrices in an engine (or "numpy"); `batch` is their side.

    What a machine reaches in it is taken for the most it can do: the ceiling.
    """
    side = 8192 if accelerator else 2048
    return Subject(
        model="matrix product",
        runtime="matmul",
        engine=engine,
        batch=side,
        precision=precision,
        source="ceiling",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination that makes sense; a runtime other than Keras needs no engine, training only Keras."""

    models: Sequence[str]
    engines: Sequence[str] = ("tensorflow",)
    runtimes: Sequence[str] = ("keras",)
    batches: Sequence[int] = (1, 8)
    precisions: Sequence[str] = ("float32",)
    variants: Sequence[str] = VARIANTS
    task: str = "infer"

    def __post_init__(self) -> None:
        for name in self.models:
            get_spec(name)
        choices = {
            "engines": ENGINES,
            "runtimes": RUNTIMES,
            "precisions": PRECISIONS,
            "variants": VARIANTS,
            "models": tuple(self.models),
            "batches": tuple(self.batches),
        }
        for field, known in choices.items():
            check_values(field, getattr(self, field), known)
        if any(isinstance(batch, bool) or batch < 1 for batch in self.batches):
            raise ValueError(f"A batch is of at least one image. Received: {list(self.batches)}.")
        if self.task == "train" and set(self.runtimes) != {"keras"}:
            raise ValueError(f"Only Keras trains. Received: runtimes={list(self.runtimes)}.")
        if not self.subjects():
            raise ValueError(
                "No combination makes sense: Keras has float32, bfloat16 and float16, exported files have "
                f"float32, float16 and int8. Received: runtimes={list(self.runtimes)}, "
                f"precisions={list(self.precisions)}."
            )

    def subjects(self) -> list[Subject]:
        """The subjects; a network stands beside its plain twin, so that both are timed close together."""
        found: dict[Subject, None] = {}
        axes = (self.runtimes, self.engines, self.precisions, self.variants, self.batches, self.models)
        for runtime, engine, precision, variant, batch, model in itertools.product(*axes):
            if precision not in precisions_of(runtime) or (self.task == "train" and variant != "original"):
                continue
            subject = Subject(
                model=model,
                runtime=runtime,
                engine=engine if runtime == "keras" else None,
                batch=batch,
                precision=precision,
                variant=variant,
                task=self.task,
            )
            found[subject] = None
        return list(found)


def precisions_of(runtime: str) -> tuple[str, ...]:
    """What a runtime can be asked for."""
    return ("float32", "bfloat16", "float16") if runtime == "keras" else ("float32", "float16", "int8")


def check_values(field: str, values: Sequence[Any], known: Sequence[Any]) -> None:
    """ValueError unless `values` are one or more different ones of `known`."""
    unknown = [value for value in values if value not in known]
    if unknown or not values or len(set(values)) != len(values):
        raise ValueError(
            f"`{field}` must be one or more different ones of {', '.join(map(str, known))}. "
            f"Received: {', '.join(map(str, values)) or 'none'}."
        )


def check_installed(subjects: Sequence[Subject]) -> None:
    """ImportError, with what to install, where an engine or a runtime of a subject is missing."""
    import importlib.util

    needed = {module: "[export]" for s in subjects if (module := RUNTIME_MODULES.get(s.runtime))}
    needed |= {s.engine: EXTRAS[s.engine] for s in subjects if s.engine in EXTRAS}
    for module, extra in needed.items():
        if importlib.util.find_spec(module) is None:
            raise ImportError(f"{module} is not installed. Install it: pip install 'senet{extra}'")


def se_pairs(subjects: Sequence[Subject]) -> list[tuple[Subject, Subject]]:
    """(network with SE, its plain twin) where both are there, all else equal."""
    there = set(subjects)
    pairs = [
        (s, s.sibling(model=plain_twin(s.model)))
        for s in subjects
        if s.source == "senet" and plain_twin(s.model) != s.model
    ]
    return [pair for pair in pairs if pair[1] in there]


def optimized_pairs(subjects: Sequence[Subject]) -> list[tuple[Subject, Subject]]:
    """(optimised network, the original) where both are there, all else equal."""
    there = set(subjects)
    pairs = [(s, s.sibling(variant="original")) for s in subjects if s.variant == "optimized"]
    return [pair for pair in pairs if pair[1] in there]

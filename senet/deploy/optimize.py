"""A trained network as a new one that answers the same and takes less time."""

from __future__ import annotations

import dataclasses

import keras

from senet.deploy import folding, squeeze, strides
from senet.deploy.graph import Graph, Node, functional_form, has_graph


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What was done to a model, as names of its layers; those of nested models stand as "OUTER/INNER".

    Args:
        dropped: layers that do nothing at inference: dropout, stochastic depth.
        folded_norms: BatchNorms folded into the convolutions before them.
        kept_norms: BatchNorms that became a scale and a shift, since no convolution comes before them alone.
        early_squeezes: SE blocks whose gates are computed from the input of the convolution before them.
        other_squeezes: SE blocks whose squeeze stayed where it was.
        fused_sums: SE blocks whose scale runs in one loop with the sum behind it.
        folded_mixes: Shake-Shake mixes that are sums now.
        folded_scales: constant factors folded into a convolution.
        lifted_strides: convolutions that leave out the pixels which those behind them do not read.
        folded_paddings: borders that a convolution or pool adds itself.
    """

    dropped: tuple[str, ...] = ()
    folded_norms: tuple[str, ...] = ()
    kept_norms: tuple[str, ...] = ()
    early_squeezes: tuple[str, ...] = ()
    other_squeezes: tuple[str, ...] = ()
    fused_sums: tuple[str, ...] = ()
    folded_mixes: tuple[str, ...] = ()
    folded_scales: tuple[str, ...] = ()
    lifted_strides: tuple[str, ...] = ()
    folded_paddings: tuple[str, ...] = ()

    def within(self, name: str) -> Summary:
        """The same with the name of a nested model before every name."""
        fields = dataclasses.asdict(self).items()
        return Summary(**{field: tuple(f"{name}/{each}" for each in names) for field, names in fields})

    def __add__(self, other: Summary) -> Summary:
        fields = [field.name for field in dataclasses.fields(self)]
        return Summary(**{field: getattr(self, field) + getattr(other, field) for field in fields})


def optimize_for_inference(model: keras.Model) -> keras.Model:
    """A new model with the same inputs and the same answers, to float32 rounding, that takes less time.

    BatchNorm is folded into the convolutions, dropout and stochastic depth are gone, and SE blocks are
    written out: the squeeze before the 1×1 convolution that it follows, where that is exact; the scale in one
    loop with the sum and the activation behind it. Pixels that no layer reads are not computed. Layers of
    other kinds are copied as they are, with their weights.

    `model` is a functional keras.Model, one with models in it, or a Sequential that has been built; of any
    size and precision. It stays as it is and shares nothing with the new model, which is not compiled, has
    the same names of inputs and outputs, and is meant for inference alone. The attribute `preprocess` goes
    along.

    Raises ValueError for anything else, for a model with a `call` of its own, and for a layer that cannot be
    copied, because its configuration does not make it again.
    """
    return optimized(model)[0]


def optimized(model: keras.Model) -> tuple[keras.Model, Summary]:
    """`optimize_for_inference`, and what was done."""
    graph = Graph(functional_form(model))
    summary = rewrite(graph)
    inner: list[Summary] = []

    def nested(node: Node) -> keras.Model | None:
        if not isinstance(node.source, keras.Model) or not has_graph(node.source):
            return None
        try:
            functional_form(node.source)
        except ValueError:
            return None  # a class of its own, with a `call` of its own: copied as any other layer
        new, done = optimized(node.source)
        inner.append(done.within(node.name))
        return new

    new = graph.build(nested)
    if hasattr(model, "preprocess"):
        new.preprocess = model.preprocess
    return new, sum(inner, summary)


def rewrite(graph: Graph) -> Summary:
    """Change a graph for inference."""
    dropped = folding.drop(graph)
    folded_norms = folding.fold_norms(graph)
    folded_mixes = folding.fold_shakes(graph)
    early, other = squeeze.write_out(graph)
    folded_scales = folding.fold_rescalings(graph)
    fused_sums = folding.fuse_sums(graph)
    kept_norms = folding.keep_norms(graph)
    lifted_strides = strides.lift_strides(graph)
    folded_paddings = folding.fold_paddings(graph)
    return Summary(
        dropped=tuple(dropped),
        folded_norms=tuple(folded_norms),
        kept_norms=tuple(kept_norms),
        lifted_strides=tuple(lifted_strides),
        early_squeezes=tuple(early),
        other_squeezes=tuple(other),
        fused_sums=tuple(fused_sums),
        folded_mixes=tuple(folded_mixes),
        folded_scales=tuple(folded_scales),
        folded_paddings=tuple(folded_paddings),
    )

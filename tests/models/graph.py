"""Who feeds whom in a functional model, by layer name, read from public attributes only."""

import keras


def producers(model) -> dict[str, list[str]]:
    """For every layer the layers it reads, in the order of its arguments."""
    made_by = {id(layer.output): layer.name for layer in model.layers}
    reading = (layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer))
    return {
        layer.name: [made_by[id(tensor)] for tensor in keras.tree.flatten(layer.input)] for layer in reading
    }


def consumers(model, name: str) -> set[str]:
    """The layers that read the layer `name`."""
    return {reader for reader, read in producers(model).items() if name in read}

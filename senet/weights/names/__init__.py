"""How each source names the tensors that fill a layer of this package."""

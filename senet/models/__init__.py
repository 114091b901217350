"""Networks as frozen spec rows, and the builders that turn a row into a graph."""

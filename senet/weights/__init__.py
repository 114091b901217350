"""Published weights: what there is, where it comes from, and how it becomes a network of this package."""

"""Constructors in the manner of keras.applications."""

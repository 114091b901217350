"""Experiments that compare networks, and the reports they leave."""

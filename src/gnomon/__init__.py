"""Gnomon: one instrument for measuring machine-learning systems fairly."""

__version__ = "0.1.0"

"""Random Offset Block Embedding (ROBE): many embedding tables in one small shared array.

The functions here work on NumPy arrays; `RobeEmbeddingBag`, `compress` and `make_embedding` are their
PyTorch side (extra `train`), imported when first asked for. See docs/embedding.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gnomon.embedding.bags import Bags
from gnomon.embedding.functional import (
    adagrad,
    allocate,
    backward,
    compiled,
    dot_interaction,
    lookup,
    sgd,
    weight_gradient,
)
from gnomon.embedding.layout import RobeLayout

if TYPE_CHECKING:
    from gnomon.embedding.compression import CompressionReport, compress
    from gnomon.embedding.module import RobeEmbeddingBag
    from gnomon.embedding.rivals import make_embedding

_WITH_PYTORCH = {
    "CompressionReport": "compression",
    "RobeEmbeddingBag": "module",
    "compress": "compression",
    "make_embedding": "rivals",
}

__all__ = [
    "Bags",
    "CompressionReport",
    "RobeEmbeddingBag",
    "RobeLayout",
    "adagrad",
    "allocate",
    "backward",
    "compiled",
    "compress",
    "dot_interaction",
    "lookup",
    "make_embedding",
    "sgd",
    "weight_gradient",
]


def __getattr__(name: str) -> Any:
    if name not in _WITH_PYTORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"gnomon.embedding.{_WITH_PYTORCH[name]}"), name)

"""Random Offset Block Embedding (ROBE): many embedding tables in one small shared array.

`functional` works on NumPy arrays; `RobeEmbeddingBag` is its PyTorch module (extra `train`).
"""

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

__all__ = [
    "Bags",
    "RobeLayout",
    "adagrad",
    "allocate",
    "backward",
    "compiled",
    "dot_interaction",
    "lookup",
    "sgd",
    "weight_gradient",
]

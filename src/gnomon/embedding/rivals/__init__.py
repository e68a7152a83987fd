"""Full tables, ROBE and the other ways to compress embedding tables, behind one interface.

    embedding = make_embedding("qr", rows=[1_000_000] * 26, dim=128, compression=100, seed=1)
    pooled = embedding(indices)                   # (batch, tables) -> (batch, tables, dim)

For comparisons at equal numbers of trained weights: `docs/embedding.md` says where each method comes from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

from gnomon.core.errors import (
    GnomonWarning,
    MissingExtraError,
    SettingsError,
    UnknownNameError,
)

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError("torch", "train", "rival embeddings") from error

from gnomon.embedding.module import RobeEmbeddingBag
from gnomon.embedding.rivals.full import FullTables, Int8Tables
from gnomon.embedding.rivals.hashed import HashedTables
from gnomon.embedding.rivals.quotient_remainder import QuotientRemainderTables
from gnomon.embedding.rivals.tables import Tables
from gnomon.embedding.rivals.tensor_train import TensorTrainTables

__all__ = [
    "KINDS",
    "FullTables",
    "HashedTables",
    "Int8Tables",
    "QuotientRemainderTables",
    "Tables",
    "TensorTrainTables",
    "make_embedding",
]

TOLERANCE = 0.05
"""How far the number of trained weights may be from the full tables' over the compression."""


def _full(rows: tuple[int, ...], dim: int, compression: float, **options: Any) -> nn.Module:
    return FullTables(rows, dim, **options)


def _robe(
    rows: tuple[int, ...], dim: int, compression: float, *, layout_seed: int = 1024, **options: Any
) -> nn.Module:
    return RobeEmbeddingBag(rows, dim, compression=compression, seed=layout_seed, **options)


def _int8(
    rows: tuple[int, ...],
    dim: int,
    compression: float,
    *,
    source: FullTables | None = None,
    **options: Any,
) -> nn.Module:
    return Int8Tables(FullTables(rows, dim, **options) if source is None else source)


def _hash_shared(rows: tuple[int, ...], dim: int, compression: float, **options: Any) -> nn.Module:
    return HashedTables(rows, dim, compression, shared=True, **options)


def _hash_capped(rows: tuple[int, ...], dim: int, compression: float, **options: Any) -> nn.Module:
    return HashedTables(rows, dim, compression, shared=False, **options)


KINDS: dict[str, Callable[..., nn.Module]] = {
    "full": _full,
    "robe": _robe,
    "hash-shared": _hash_shared,
    "hash-capped": _hash_capped,
    "qr": QuotientRemainderTables,
    "tt": TensorTrainTables,
    "int8": _int8,
}
_KEEP_EVERY_WEIGHT = ("full", "int8")


def make_embedding(
    kind: str,
    rows: Sequence[int],
    dim: int,
    *,
    compression: float = 1.0,
    seed: int = 0,
    **options: Any,
) -> nn.Module:
    """An embedding of one kind with a number of trained weights that matches those of the others.

    Args:
        kind: A key of `KINDS`.
        rows: Rows of each table.
        dim: Weights in a row.
        compression: Weights of the full tables over trained weights.
        seed: Of the initial weights. Torch's own generator is left as it was.
        options: `mode` and `include_last_offset`, as in `RobeEmbeddingBag`; `operation` of "qr"; `source`,
            the trained `FullTables` of "int8"; `layout_seed` and the layout's attributes of "robe".

    Returns:
        A module with `forward(indices, offsets=None, per_sample_weights=None)` that gives (batch, tables,
        dim), and with the properties `weight_count` (trained weights) and `bytes`.

    Raises:
        UnknownNameError: No such kind.
        SettingsError: A compression that the method cannot reach, or options out of range.

    Warns:
        GnomonWarning: The method stays more than 5 % under the weights that it may have.
    """
    if kind not in KINDS:
        raise UnknownNameError("embedding", kind, KINDS)
    rows = tuple(int(count) for count in rows)
    if not rows or min(rows) < 1 or dim < 1:
        raise SettingsError("rows must name at least one table, each of at least one row; dim >= 1")
    if not compression >= 1:
        raise SettingsError(f"compression must be at least 1, got {compression!r}")
    if kind in _KEEP_EVERY_WEIGHT and compression != 1:
        raise SettingsError(f"{kind} keeps every weight: leave compression at 1, got {compression}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = KINDS[kind](rows, dim, compression, **options)
    wanted = sum(rows) * dim / compression
    count = cast("int", made.weight_count)
    if count > wanted * (1 + TOLERANCE) and compression > 1:
        raise SettingsError(
            f"{kind} needs at least {count:,} weights for these tables, {wanted:,.0f} are allowed: use "
            f"compression {sum(rows) * dim / count:.3g} or less"
        )
    if count < wanted * (1 - TOLERANCE):
        warnings.warn(
            f"{kind} has {count:,} weights where {wanted:,.0f} are allowed: too few to compare at equal "
            f"size",
            GnomonWarning,
            stacklevel=2,
        )
    return made

"""What every rival shares: the interface, how indices fall into tables and bags, and how rows are pooled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from gnomon.core.errors import DataError, MissingExtraError, SettingsError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F  # noqa: N812 - torch's own custom

    from gnomon.embedding.module import check_mode, with_last_offset
except ImportError as error:
    raise MissingExtraError("torch", "train", "rival embeddings") from error


@dataclass(frozen=True)
class TorchBags:
    """Bags of row ids as `gnomon.embedding.Bags` has them, in torch.

    Attributes:
        ids: (batch, tables, L), or (N,) table after table.
        offsets: (tables * batch + 1,) into (N,), or None.
        weights: Of the shape of ids, or None.
        tables: Number of tables.
        mode: "sum" or "mean".
    """

    ids: Tensor
    offsets: Tensor | None
    weights: Tensor | None
    tables: int
    mode: str

    @property
    def batch(self) -> int:
        """Number of samples."""
        return self.ids.shape[0] if self.offsets is None else (len(self.offsets) - 1) // self.tables

    def table_of_each(self) -> Tensor:
        """The table of each id, of a shape that broadcasts with ids."""
        tables = torch.arange(self.tables, device=self.ids.device)
        if self.offsets is None:
            return tables[None, :, None]
        return tables.repeat_interleave(self.offsets[:: max(self.batch, 1)].diff())

    def each_table(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Ids, offsets (batch + 1,) and weights of one table after another, flat."""
        for table in range(self.tables):
            if self.offsets is None:
                length = self.ids.shape[2]
                offsets = torch.arange(self.batch + 1, device=self.ids.device) * length
                inside = self.ids[:, table].reshape(-1)
                weights = None if self.weights is None else self.weights[:, table].reshape(-1)
            else:
                bounds = self.offsets[table * self.batch : (table + 1) * self.batch + 1]
                first, last = int(bounds[0]), int(bounds[-1])
                inside, offsets = self.ids[first:last], bounds - first
                weights = None if self.weights is None else self.weights[first:last]
            yield inside, offsets, weights

    def pooled_from(self, weight: Tensor, rows: Tensor) -> Tensor:
        """(batch, tables, dim): each id is row `rows` of one weight (count, dim)."""
        if self.offsets is None:
            flat = rows.reshape(-1, rows.shape[2])
            weights = None if self.weights is None else self.weights.reshape(flat.shape)
            out = F.embedding_bag(flat, weight, mode=self.mode, per_sample_weights=weights)
            return out.view(self.batch, self.tables, -1)
        out = F.embedding_bag(
            rows,
            weight,
            self.offsets.to(rows.dtype),
            mode=self.mode,
            per_sample_weights=self.weights,
            include_last_offset=True,
        )
        return out.view(self.tables, self.batch, -1).transpose(0, 1)

    def pooled(self, rows: Tensor) -> Tensor:
        """(batch, tables, dim) from the row of each id, (*ids.shape, dim)."""
        if self.weights is not None:
            rows = rows * self.weights[..., None]
        if self.offsets is None:
            return rows.mean(2) if self.mode == "mean" and rows.shape[2] else rows.sum(2)
        out = pool_flat(rows, self.offsets, self.mode)
        return out.view(self.tables, self.batch, -1).transpose(0, 1)


def pool_flat(rows: Tensor, offsets: Tensor, mode: str) -> Tensor:
    """Rows (N, dim) pooled into the bags that offsets (bags + 1,) bound."""
    count = offsets.diff()
    bag = torch.arange(len(count), device=rows.device).repeat_interleave(count)
    out = rows.new_zeros(len(count), rows.shape[1]).index_add(0, bag, rows)
    return out / count.clamp(min=1)[:, None].to(out.dtype) if mode == "mean" else out


class Tables(nn.Module, ABC):
    """Embedding tables of one dimension: forward as `RobeEmbeddingBag` with several tables.

    Attributes:
        rows: Rows of each table.
        dim: Weights in a row.
        mode: "sum" or "mean".
    """

    def __init__(
        self,
        rows: tuple[int, ...],
        dim: int,
        *,
        mode: str = "sum",
        include_last_offset: bool = False,
    ) -> None:
        super().__init__()
        self.rows, self.dim, self.mode = rows, dim, check_mode(mode)
        self.include_last_offset = include_last_offset
        self.register_buffer("_bounds", torch.tensor(rows), persistent=False)
        self._bounds: Tensor

    def forward(
        self,
        indices: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Pooled rows, (batch, tables, dim); arguments as in `RobeEmbeddingBag.forward`.

        Raises:
            DataError: Indices, offsets or weights that do not fit together.
            SettingsError: Per-sample weights with mode "mean".
        """
        if per_sample_weights is not None and self.mode != "sum":
            raise SettingsError("per-sample weights go with sum pooling only")
        if per_sample_weights is not None and per_sample_weights.shape != indices.shape:
            raise DataError(
                f"per_sample_weights must have the shape of indices {tuple(indices.shape)}, got "
                f"{tuple(per_sample_weights.shape)}"
            )
        offsets = with_last_offset(indices, offsets, self.include_last_offset)
        tables = len(self.rows)
        if offsets is None:
            if indices.dim() not in (2, 3) or indices.shape[1] != tables:
                raise DataError(
                    f"indices without offsets must be (batch, {tables}) or (batch, {tables}, L), got "
                    f"{tuple(indices.shape)}"
                )
            if indices.dim() == 2:
                indices = indices[:, :, None]
                if per_sample_weights is not None:
                    per_sample_weights = per_sample_weights[:, :, None]
        elif indices.dim() != 1 or (len(offsets) - 1) % tables:
            raise DataError(
                f"indices with offsets are flat, with offsets for each bag of {tables} tables, got "
                f"{tuple(indices.shape)} and {tuple(offsets.shape)}"
            )
        return self.pool(TorchBags(indices, offsets, per_sample_weights, tables, self.mode))

    @abstractmethod
    def pool(self, bags: TorchBags) -> Tensor:
        """Pooled rows, (batch, tables, dim)."""

    @property
    def weight_count(self) -> int:
        """Trained weights."""
        return sum(weight.numel() for weight in self.parameters())

    @property
    def bytes(self) -> int:
        """Memory of the weights."""
        return sum(weight.numel() * weight.element_size() for weight in self.parameters())

    def extra_repr(self) -> str:
        """The tables in words."""
        return f"{len(self.rows)} tables, {sum(self.rows)}, {self.dim}, weights={self.weight_count}"

    def checked(self, bags: TorchBags) -> Tensor:
        """The table of each id, where every id is a row of its table.

        A method that maps ids would otherwise answer for any id, as some other row.

        Raises:
            DataError: An id is not a row of its table.
        """
        table = bags.table_of_each()
        if not torch.compiler.is_compiling():
            wrong = (bags.ids < 0) | (bags.ids >= self._bounds[table])
            if bool(wrong.any()):
                first = int(wrong.reshape(-1).nonzero()[0])
                of = int(table.expand_as(bags.ids).reshape(-1)[first])
                raise DataError(
                    f"index {int(bags.ids.reshape(-1)[first])} is not a row of table {of}, which has "
                    f"{self.rows[of]:,} rows"
                )
        return table

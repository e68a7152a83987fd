"""Tensor-train embeddings: a table as the product of three small cores.

Yin, Acun, Liu & Wu, "TT-Rec: Tensor Train Compression for Deep Learning Recommendation Models", MLSys 2021.
"""

from __future__ import annotations

from typing import Any

from gnomon.core.errors import MissingExtraError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F  # noqa: N812 - torch's own custom

    from gnomon.embedding.rivals.tables import Tables, TorchBags, pool_flat
except ImportError as error:
    raise MissingExtraError("torch", "train", "rival embeddings") from error


class TensorTrainTable(nn.Module):
    """One table: row i = (i1, i2, i3) is G1[i1] G2[i2] G3[i3], of shapes (d1, R), (R, d2 R), (R, d3).

    n1 n2 n3 >= n and d1 d2 d3 = d. Cores begin as N(0, s^2) with s such that the rows' variance is that of
    full tables, 1 / (3 n): a weight sums R^2 products of three.
    """

    def __init__(self, rows: int, dim: int, rank: int) -> None:
        super().__init__()
        self.dim, self.rank = dim, rank
        (self.n1, self.n2, self.n3), (self.d1, self.d2, self.d3) = cut(rows), thirds(dim)
        spread = (1 / (3 * rows) / rank**2) ** (1 / 6)
        shapes = (
            (self.n1, self.d1 * rank),
            (self.n2, rank * self.d2 * rank),
            (self.n3, rank * self.d3),
        )
        self.cores = nn.ParameterList(torch.randn(shape) * spread for shape in shapes)

    def forward(self, ids: Tensor) -> Tensor:
        """Rows (N, dim)."""
        first, second, third = self.cores
        rank = self.rank
        left = F.embedding(ids // (self.n2 * self.n3), first).view(-1, self.d1, rank)
        middle = F.embedding(ids // self.n3 % self.n2, second).view(-1, rank, self.d2 * rank)
        right = F.embedding(ids % self.n3, third).view(-1, rank, self.d3)
        both = torch.bmm(left, middle).view(-1, self.d1 * self.d2, rank)
        return torch.bmm(both, right).view(-1, self.dim)


class FullTable(nn.Module):
    """A table too small to gain from cores: U(-a, a) with a = sqrt(1 / rows)."""

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        bound = (1 / rows) ** 0.5
        self.weight = nn.Parameter(torch.empty(rows, dim).uniform_(-bound, bound))

    def forward(self, ids: Tensor) -> Tensor:
        """Rows (N, dim)."""
        return F.embedding(ids, self.weight)


class TensorTrainTables(Tables):
    """A `TensorTrainTable` for each table that gains from it, of ranks that match the compression.

    All tables have the same rank, the largest first one more as long as the weights allow it. Ranks are
    whole numbers: near the least compression of a set of tables the weights can miss what is allowed.
    """

    def __init__(
        self, rows: tuple[int, ...], dim: int, compression: float = 1.0, **options: Any
    ) -> None:
        """Choose ranks and make the cores.

        Args:
            rows: Rows of each table.
            dim: Weights in a row.
            compression: Weights of the full tables over those kept.
            options: As in `Tables`.
        """
        super().__init__(rows, dim, **options)
        self.ranks = ranks_within(rows, dim, sum(rows) * dim / compression)
        self.tables = nn.ModuleList(
            FullTable(n, dim)
            if core_weights(n, dim, rank) >= n * dim
            else TensorTrainTable(n, dim, rank)
            for n, rank in zip(rows, self.ranks, strict=True)
        )

    def pool(self, bags: TorchBags) -> Tensor:
        """Rows of one table after another, pooled and stacked."""
        self.checked(bags)
        out = []
        for table, (ids, offsets, weights) in zip(self.tables, bags.each_table(), strict=True):
            rows = table(ids)
            if weights is not None:
                rows = rows * weights[:, None]
            out.append(pool_flat(rows, offsets, self.mode))
        return torch.stack(out, 1)


def cut(rows: int) -> tuple[int, int, int]:
    """Three near-equal numbers whose product is at least `rows`."""
    edge = 1
    while edge**3 < rows:
        edge += 1
    return edge, edge, -(-rows // edge**2)


def thirds(dim: int) -> tuple[int, int, int]:
    """The three factors of `dim` with the least sum, the largest in the middle."""
    found = [
        (a, b, dim // a // b)
        for a in range(1, dim + 1)
        if dim % a == 0
        for b in range(1, dim // a + 1)
        if dim // a % b == 0
    ]
    small, middle, large = sorted(min(found, key=sum))
    return small, large, middle


def core_weights(rows: int, dim: int, rank: int) -> int:
    """Weights of the three cores."""
    (n1, n2, n3), (d1, d2, d3) = cut(rows), thirds(dim)
    return n1 * d1 * rank + n2 * d2 * rank**2 + n3 * d3 * rank


def ranks_within(rows: tuple[int, ...], dim: int, room: float) -> list[int]:
    """The rank of each table: as large as the weights allow, at least 1."""

    def needed(ranks: list[int]) -> int:
        return sum(
            min(core_weights(n, dim, rank), n * dim) for n, rank in zip(rows, ranks, strict=True)
        )

    full = sum(rows) * dim
    rank = 1
    while needed([rank] * len(rows)) < full and needed([rank + 1] * len(rows)) <= room:
        rank += 1
    ranks = [rank] * len(rows)
    for table in sorted(range(len(rows)), key=lambda table: -rows[table]):
        raised = ranks.copy()
        raised[table] += 1
        if needed(raised) <= room:
            ranks = raised
    return ranks

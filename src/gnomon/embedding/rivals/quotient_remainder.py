"""Quotient-remainder embeddings: a row is two shorter tables' rows put together.

Shi, Mudigere, Naumov & Yang, "Compositional Embeddings Using Complementary Partitions for Memory-Efficient
Recommendation Systems", KDD 2020. Rows are put together first and pooled then, as in the paper.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from gnomon.core.errors import MissingExtraError, SettingsError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F  # noqa: N812 - torch's own custom

    from gnomon.embedding.rivals.tables import Tables, TorchBags
except ImportError as error:
    raise MissingExtraError("torch", "train", "rival embeddings") from error

Operation = Literal["mult", "add"]


class QuotientRemainderTables(Tables):
    """Table e of n rows keeps q quotient rows and r = ceil(n / q) remainder rows: id i is (i // r, i % r).

    One fraction f for all tables sets q = max(ceil(sqrt(n)), ceil(f n)), so that the weights match the
    compression; q + r is least at q = sqrt(n), which bounds it. A table that gains nothing keeps its n rows
    and one quotient row.

    Initial weights: remainder rows U(-a, a) with a = sqrt(1 / n), quotient rows U(0.5, 1.5) under "mult":
    products begin on the scale of full tables, with rows apart. Under "add" both begin at half the variance.
    """

    def __init__(
        self,
        rows: tuple[int, ...],
        dim: int,
        compression: float = 1.0,
        *,
        operation: Operation = "mult",
        **options: Any,
    ) -> None:
        """Share out the rows.

        Args:
            rows: Rows of each table.
            dim: Weights in a row.
            compression: Weights of the full tables over those kept.
            operation: How the two rows are put together.
            options: As in `Tables`.

        Raises:
            SettingsError: Unknown operation.
        """
        super().__init__(rows, dim, **options)
        if operation not in get_args(Operation):
            raise SettingsError(f"operation must be mult or add, got {operation!r}")
        self.operation = operation
        quotients = quotient_rows(rows, sum(rows) / compression)
        remainders = [-(-n // q) for n, q in zip(rows, quotients, strict=True)]
        for name, value in (
            ("_divisor", remainders),
            ("_first_q", [sum(quotients[:table]) for table in range(len(rows))]),
            ("_first_r", [sum(remainders[:table]) for table in range(len(rows))]),
        ):
            self.register_buffer(name, torch.tensor(value), persistent=False)
        self._divisor: Tensor
        self._first_q: Tensor
        self._first_r: Tensor
        self.quotient = nn.Parameter(torch.empty(sum(quotients), dim))
        self.remainder = nn.Parameter(torch.empty(sum(remainders), dim))
        with torch.no_grad():
            of_q = torch.split(self.quotient, quotients)
            of_r = torch.split(self.remainder, remainders)
            for q, r, n in zip(of_q, of_r, rows, strict=True):
                bound = (1 / n) ** 0.5 if operation == "mult" else (1 / (2 * n)) ** 0.5
                r.uniform_(-bound, bound)
                if operation == "mult":
                    q.uniform_(0.5, 1.5)
                else:
                    q.uniform_(-bound, bound)

    def pool(self, bags: TorchBags) -> Tensor:
        """Two lookups for each id, put together, then pooled."""
        table = self.checked(bags)
        divisor = self._divisor[table]
        q = F.embedding(bags.ids // divisor + self._first_q[table], self.quotient)
        r = F.embedding(bags.ids % divisor + self._first_r[table], self.remainder)
        return bags.pooled(q * r if self.operation == "mult" else q + r)


def quotient_rows(rows: tuple[int, ...], room: float) -> list[int]:
    """Quotient rows of each table: the most with which quotient and remainder rows fit, or the least."""

    def shared_out(fraction: float) -> list[int]:
        found = []
        for n in rows:
            q = max(math.isqrt(n - 1) + 1, math.ceil(fraction * n))
            found.append(q if q + -(-n // q) < n else 1)
        return found

    def total(quotients: list[int]) -> int:
        return sum(q + -(-n // q) for n, q in zip(rows, quotients, strict=True))

    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if total(shared_out(middle)) <= room else (low, middle)
    return shared_out(low)

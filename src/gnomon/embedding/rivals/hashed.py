"""The hashing trick: rows that share a smaller table, in both forms in use.

Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009.
"""

from __future__ import annotations

from typing import Any

from gnomon.core.errors import MissingExtraError, SettingsError
from gnomon.embedding.layout import PRIME, RobeLayout

try:
    import torch
    from torch import Tensor, nn

    from gnomon.embedding.rivals.tables import Tables, TorchBags
except ImportError as error:
    raise MissingExtraError("torch", "train", "rival embeddings") from error


class HashedTables(Tables):
    """One weight (count, dim) with fewer rows than the tables have.

    * shared: every row of every table is hashed to any row of the weight, by the hash of `RobeLayout`; it
      begins as U(-a, a) with a = sqrt(1 / most rows), as ROBE does.
    * capped: table e has its own min(n_e, k) rows and id % k picks one, which is DLRM's
      `--max-ind-range`; each begins as U(-a, a) with a = sqrt(1 / n_e), as full tables do.
    """

    def __init__(
        self, rows: tuple[int, ...], dim: int, compression: float, *, shared: bool, **options: Any
    ) -> None:
        """Share out the rows.

        Args:
            rows: Rows of each table.
            dim: Weights in a row.
            compression: Weights of the full tables over those kept.
            shared: Which form.
            options: As in `Tables`.

        Raises:
            SettingsError: No row is left for some table.
        """
        super().__init__(rows, dim, **options)
        self.shared = shared
        room = int(sum(rows) / compression)
        kept = (max(room, 1),) if shared else capped(rows, room)
        before = [sum(kept[:table]) for table in range(len(kept))]
        layout = RobeLayout.full(rows, dim)
        self.register_buffer("_kept", torch.tensor(kept), persistent=False)
        self.register_buffer("_before", torch.tensor(before), persistent=False)
        self.register_buffer("_first", torch.from_numpy(layout.first_rows[:-1]), persistent=False)
        self._kept: Tensor
        self._before: Tensor
        self._first: Tensor
        _, self._r1, _, self._r3, *_ = layout.numbers
        self.weight = nn.Parameter(torch.empty(sum(kept), dim))
        with torch.no_grad():
            parts = torch.split(self.weight, list(kept))
            counts = (max(rows),) if shared else rows
            for part, count in zip(parts, counts, strict=True):
                part.uniform_(-((1 / count) ** 0.5), (1 / count) ** 0.5)

    def pool(self, bags: TorchBags) -> Tensor:
        """One lookup in one weight."""
        table = self.checked(bags)
        if self.shared:
            x = bags.ids + self._first[table]
            kept = (x * self._r3 + self._r1) % PRIME % len(self.weight)
        else:
            kept = bags.ids % self._kept[table] + self._before[table]
        return bags.pooled_from(self.weight, kept)


def capped(rows: tuple[int, ...], room: int) -> tuple[int, ...]:
    """Rows kept of each table, `room` in all: min(n, k), the largest tables with one more where k + 1 fits.

    Raises:
        SettingsError: There are more tables than rows to keep.
    """
    if room < len(rows):
        raise SettingsError(
            f"hash-capped keeps at least a row of each of {len(rows)} tables, and {room} rows are allowed: "
            f"use less compression"
        )
    if room >= sum(rows):
        return rows
    low, high = 1, max(rows)
    while high - low > 1:
        middle = (low + high) // 2
        fits = sum(min(count, middle) for count in rows) <= room
        low, high = (middle, high) if fits else (low, middle)
    kept = [min(count, low) for count in rows]
    largest = sorted(range(len(rows)), key=lambda table: -rows[table])
    for table in largest[: room - sum(kept)]:
        kept[table] += rows[table] > low
    return tuple(kept)

"""Where each embedding weight lies in the one array that many tables share: the ROBE-Z layout.

Random Offset Block Embedding, Desai, Chou & Shrivastava, MLSys 2022 (arXiv 2108.02191). A row of `dim`
weights is cut into blocks of `block` (the paper's Z); each block lies contiguously at an offset that a
hash of row and block gives. Published codes differ on wrapping and signs, so both are options here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError

Wrap = Literal["clipped", "circular"]
Sign = Literal["none", "element"]
Hash = Literal["modular", "mixer", "identity"]

PRIME = 2038074743
"""The modulus of the authors' hash: below 2^31, so that int64 products cannot overflow."""

AUTHORS_SEED = 1024
ALIGNED_WEIGHTS = 16
"""`align=64` puts blocks at multiples of 16 weights: 64 bytes in float32. The unit is weights, so that an
array keeps its layout when it is cast to bfloat16."""

MOST_WEIGHTS = 2**32 - 1
WIDEST_ROW = 2**16


@dataclass(frozen=True)
class RobeLayout:
    """The layout of `len(rows)` embedding tables in one array of `size` weights.

    Element i of row r of table e, with x = r + (rows of the tables before e), c = i // Z and j = i % Z
    (c = 0 and j = i if Z >= dim), lies at `h(x, c) + j`:

    * `hash="modular"`, the authors' own: h = ((x r3 + c r2 + r1) mod 2038074743) mod n, where r comes from
      `numpy.random.RandomState(seed)`; seed 1024 is theirs.
    * `hash="mixer"`: a 64-bit finaliser of (x, c, seed), scaled to n. Under the modular hash neighbouring
      rows lie a constant step apart; under this one they do not, and it takes larger arrays.
    * `hash="identity"`: the full tables themselves, row after row; `size` is then their total.

    n counts the possible starts: size - Z + 1 if clipped (a block never wraps: the authors' code), `size`
    if circular (the paper's words); with `align=64`, starts are the multiples of 16 weights only.

    Attributes:
        rows: Rows of each table.
        dim: Weights in a row (the embedding dimension d).
        size: Weights in the array (the paper's m).
        block: Weights in a block (Z), 1 or more.
        wrap: "clipped" or "circular".
        sign: "none" (the authors' code) or "element": each element is multiplied by +1 or -1 that
            another hash of (x, i) gives.
        align: 0, or 64 for blocks that start on 64-byte boundaries of a float32 array.
        hash: "modular", "mixer" or "identity".
        seed: Of the hashes.
        span: For block > dim only: blocks run over neighbouring rows (element g = x dim + i lies in
            block g // Z), so that up to Z / dim rows lie side by side. Without it a block longer than a
            row holds one row, as in the authors' code.
    """

    rows: tuple[int, ...]
    dim: int
    size: int
    block: int
    wrap: Wrap = "clipped"
    sign: Sign = "none"
    align: int = 0
    hash: Hash = "modular"
    seed: int = AUTHORS_SEED
    span: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be laid out.

        Raises:
            SettingsError: With the mend.
        """
        object.__setattr__(self, "rows", tuple(int(count) for count in self.rows))
        if not self.rows or min(self.rows) < 1:
            raise SettingsError("rows must name at least one table, each of at least one row")
        for name in ("dim", "size", "block"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise SettingsError(f"{name} must be a whole number of at least 1, got {value!r}")
            object.__setattr__(self, name, int(value))
        if self.dim > WIDEST_ROW:
            raise SettingsError(f"dim must be at most {WIDEST_ROW:,}, got {self.dim:,}")
        for name, kinds in (("wrap", Wrap), ("sign", Sign), ("hash", Hash)):
            if getattr(self, name) not in get_args(kinds):
                known = " or ".join(get_args(kinds))
                raise SettingsError(f"{name} must be {known}, got {getattr(self, name)!r}")
        if self.align not in (0, 64):
            raise SettingsError(f"align must be 0 or 64 bytes, got {self.align!r}")
        if not 0 <= self.seed < 2**32:
            raise SettingsError(f"seed must be in 0 to 2^32 - 1, got {self.seed!r}")
        if self.span and self.block <= self.dim:
            raise SettingsError(
                f"span lets blocks run over rows and needs block > dim, got block {self.block} and "
                f"dim {self.dim}"
            )
        if self.hash == "identity":
            self._check_identity()
        else:
            self._check_hashed()

    def _check_identity(self) -> None:
        if self.size != self.total_rows * self.dim:
            raise SettingsError(
                f"full tables of {self.total_rows:,} rows by {self.dim} have "
                f"{self.total_rows * self.dim:,} weights, size says {self.size:,}"
            )
        if (self.wrap, self.sign, self.align, self.span) != ("clipped", "none", 0, False):
            raise SettingsError("full tables (hash identity) take no wrap, sign, align or span")

    def _check_hashed(self) -> None:
        if self.size < self.block:
            raise SettingsError(
                f"the array must hold at least one block: size {self.size:,} is below block "
                f"{self.block:,}; use a smaller block or less compression"
            )
        if self.align and self.size < ALIGNED_WEIGHTS:
            raise SettingsError(f"align needs a size of at least {ALIGNED_WEIGHTS}")
        if self.hash == "modular" and max(self.size, self.total_rows) >= PRIME:
            what = "size" if self.size >= PRIME else "the number of rows"
            raise SettingsError(
                f"{what} must be below the modular hash's prime {PRIME:,}, got "
                f"{max(self.size, self.total_rows):,}: use hash='mixer'"
            )
        if self.size > MOST_WEIGHTS:
            raise SettingsError(f"size must be at most {MOST_WEIGHTS:,}, got {self.size:,}")

    @classmethod
    def compressed(
        cls,
        rows: Sequence[int],
        dim: int,
        factor: float,
        *,
        block: int | None = None,
        **options: Any,
    ) -> RobeLayout:
        """The layout whose array is `factor` times smaller than the full tables.

        Args:
            rows: Rows of each table.
            dim: Weights in a row.
            factor: Weights of the full tables over weights of the array; at least 1.
            block: Z; default: a whole row.
            options: The other attributes.

        Raises:
            SettingsError: The factor is below 1 or leaves no room for one block.
        """
        if not factor >= 1:
            raise SettingsError(f"compression must be at least 1, got {factor!r}")
        size = int(sum(rows) * dim // factor)
        return cls(tuple(rows), dim, max(size, 1), dim if block is None else block, **options)

    @classmethod
    def full(cls, rows: Sequence[int], dim: int) -> RobeLayout:
        """Full tables, row after row in one array: nothing is shared."""
        return cls(tuple(rows), dim, sum(rows) * dim, dim, hash="identity")

    @property
    def tables(self) -> int:
        """Number of embedding tables."""
        return len(self.rows)

    @property
    def total_rows(self) -> int:
        """Rows of all tables together."""
        return sum(self.rows)

    @property
    def compression(self) -> float:
        """Weights of the full tables over weights of the array."""
        return self.total_rows * self.dim / self.size

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """Rows before each table, and in all: int64 (tables + 1,)."""
        return np.concatenate([[0], np.cumsum(self.rows)]).astype(np.int64)

    @property
    def unit(self) -> int:
        """Starts of blocks are multiples of so many weights."""
        return ALIGNED_WEIGHTS if self.align else 1

    @property
    def slots(self) -> int:
        """How many starts a block may have."""
        if self.wrap == "circular":
            return self.size // self.unit
        return (self.size - self.block) // self.unit + 1

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The random numbers r[0] to r[6] of the modular hashes; the authors use r[0] to r[3]."""
        drawn = np.random.RandomState(self.seed).randint(0, PRIME, 50, dtype=np.int64)
        return (PRIME, *(int(value) for value in drawn[:6]))

    def as_dict(self) -> dict[str, Any]:
        """Every attribute, as it can stand in a checkpoint or in JSON."""
        return asdict(self) | {"rows": list(self.rows)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> RobeLayout:
        """The layout that `as_dict` described.

        Raises:
            SettingsError: Attributes are missing or unknown.
        """
        try:
            return cls(**(stored | {"rows": tuple(stored["rows"])}))
        except (TypeError, KeyError) as error:
            raise SettingsError(f"this does not describe an embedding layout: {error}") from None

"""Random layouts and bags for the tests of the embedding kernels: every option, odd sizes included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnomon.embedding import Bags, RobeLayout


@dataclass(frozen=True)
class Case:
    """A layout, what is looked up in it, and the gradient that comes back."""

    layout: RobeLayout
    array: np.ndarray
    indices: np.ndarray
    offsets: np.ndarray | None
    weights: np.ndarray | None
    pooling: str
    gradient: np.ndarray

    @property
    def bags(self) -> Bags:
        return Bags.of(self.layout, self.indices, self.offsets, self.weights, self.pooling)

    @property
    def asked(self) -> dict:
        """The arguments of a lookup beside array, layout and gradient."""
        return {
            "indices": self.indices,
            "offsets": self.offsets,
            "weights": self.weights,
            "pooling": self.pooling,
        }


def random_layout(rng: np.random.Generator) -> RobeLayout:
    dim = int(rng.choice([1, 3, 8, 16, 20, 32, 48, 64, 96, 128]))
    rows = tuple(int(count) for count in rng.integers(1, 50, rng.integers(1, 4)))
    if rng.random() < 0.15:
        return RobeLayout.full(rows, dim)
    block = int(rng.choice([1, 2, 4, 5, 8, 16, 32, 64, 128, dim, dim, 2 * dim, 3 * dim + 1]))
    least = max(block, 16)
    size = int(
        rng.integers(least, 8 * least + 200) if rng.random() < 0.7 else rng.integers(20000, 60000)
    )
    return RobeLayout(
        rows,
        dim,
        size,
        block,
        wrap=str(rng.choice(["clipped", "circular"])),
        sign=str(rng.choice(["none", "element"])),
        align=int(rng.choice([0, 64])),
        hash=str(rng.choice(["modular", "mixer"])),
        seed=int(rng.choice([1024, 7])),
        span=bool(block > dim and rng.random() < 0.5),
    )


def random_case(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    layout = random_layout(rng)
    batch, tables = int(rng.integers(0, 24)), layout.tables
    kind = rng.choice([np.int32, np.int64])
    offsets = None
    form = rng.choice(["one", "many", "strided", "any"])
    if form == "any":
        lengths = rng.integers(0, 6, tables * batch)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        drawn = [
            rng.integers(0, layout.rows[bag // batch], length) for bag, length in enumerate(lengths)
        ]
        indices = np.concatenate([*drawn, np.zeros(0, dtype=np.int64)]).astype(kind)
    else:
        length = 1 if form == "one" else int(rng.integers(0, 5))
        drawn = [rng.integers(0, rows, (batch, length)) for rows in layout.rows]
        if form == "strided":
            indices = np.stack(drawn).astype(kind).transpose(1, 0, 2)
        else:
            indices = np.stack(drawn, axis=1).astype(kind)
        if form == "one":
            indices = indices[:, :, 0]
    pooling = str(rng.choice(["sum", "mean"]))
    weights = None
    if pooling == "sum" and rng.random() < 0.4:
        weights = rng.standard_normal(indices.shape).astype(np.float32)
    return Case(
        layout,
        rng.standard_normal(layout.size).astype(np.float32),
        indices,
        offsets,
        weights,
        pooling,
        rng.standard_normal((batch, tables, layout.dim)).astype(np.float32),
    )

"""A data set dealt out to clients: one array, sorted by client, and a held-out part for quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource


@dataclass(frozen=True)
class FederatedData:
    """Samples of N clients, one after another.

    Attributes:
        features: float32, shape (n, ...): client k's samples are rows `offsets[k]` to `offsets[k + 1]`.
        labels: int64 class numbers, shape (n,).
        offsets: int64, shape (N + 1,), from 0 to n; no client is empty.
        test_features: float32, shape (m, ...), held by no client.
        test_labels: int64, shape (m,).
        classes: Number of classes.
        source: Name, whether official, fingerprint.
        partition: How the samples were dealt out, in words.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    offsets: NDArray[np.int64]
    test_features: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    classes: int
    source: DataSource
    partition: str

    def __post_init__(self) -> None:
        sizes = np.diff(self.offsets)
        if len(sizes) == 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.labels):
            raise DataError(f"offsets of {self.source.name} do not cover its samples")
        if (sizes <= 0).any():
            raise DataError(
                f"client {int(np.argmax(sizes <= 0))} of {self.source.name} has no samples: "
                f"use fewer clients or another partition"
            )

    @property
    def clients(self) -> int:
        """Number of clients N."""
        return len(self.offsets) - 1

    @property
    def weights(self) -> NDArray[np.float64]:
        """p_k = n_k / n: each client's share of the samples, shape (N,)."""
        sizes = np.diff(self.offsets).astype(np.float64)
        weights: NDArray[np.float64] = sizes / sizes.sum()
        return weights

    def of(self, client: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """One client's samples and labels, as views."""
        part = slice(int(self.offsets[client]), int(self.offsets[client + 1]))
        return self.features[part], self.labels[part]


def dealt(
    features: NDArray[np.float32], labels: NDArray[np.int64], parts: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Features and labels in the order of clients, and offsets; `parts[k]` are client k's rows."""
    order = np.concatenate(parts)
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return np.ascontiguousarray(features[order]), labels[order], offsets

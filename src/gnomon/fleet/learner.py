"""What is trained: a model as one parameter vector, local training of a client, and the loss over all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gnomon.fleet.data import FederatedData
from gnomon.fleet.orders import Parameters
from gnomon.fleet.randomness import batch_indices


@dataclass(frozen=True)
class LocalTraining:
    """How a client trains in one round: E iterations of SGD on batches drawn from its own samples.

    Attributes:
        local_iterations: E.
        batch_size: Samples an iteration, drawn with replacement.
        learning_rate: Of SGD in this round.
        proximal: mu of FedProx (Li et al., MLSys 2020): `mu / 2 * ||w - w_round||**2` is added to the loss.
        seed: With round and client number, the key of the batches (`randomness.batch_indices`).
        round_number: From 0.
    """

    local_iterations: int
    batch_size: int
    learning_rate: float
    proximal: float
    seed: int
    round_number: int


class Learner(Protocol):
    """A model of some data set; makes no choice of its own and keeps no state between calls."""

    name: str

    def initial(self, seed: int) -> Parameters:
        """Parameters to start from, shape (P,)."""

    def train(
        self, parameters: Parameters, clients: NDArray[np.int64], training: LocalTraining
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Train each of these clients from `parameters`.

        Returns:
            Updates (parameters after minus before), shape (K, P), and each client's mean loss over its
            iterations, shape (K,). A client's row does not depend on which others are asked for.
        """

    def loss(self, parameters: Parameters) -> float:
        """F(w) = sum over k of p_k F_k(w): the loss over all clients' samples, regularisation included."""

    def quality(self, parameters: Parameters) -> float:
        """Top-1 accuracy on the held-out samples."""

    def describe(self) -> dict[str, Any]:
        """For the record: kind, size, regularisation."""


def require_clients(data: FederatedData, clients: NDArray[np.int64]) -> None:
    """Refuse client numbers that do not exist."""
    if len(clients) and (clients.min() < 0 or clients.max() >= data.clients):
        raise IndexError(f"clients run from 0 to {data.clients - 1}, got {clients.tolist()}")


def drawn_rows(
    data: FederatedData, clients: NDArray[np.int64], training: LocalTraining
) -> NDArray[np.int64]:
    """Rows of all clients' data that each of these takes in each iteration, shape (K, E, batch)."""
    first, last = data.offsets[clients], data.offsets[clients + 1]
    rows = batch_indices(
        training.seed,
        training.round_number,
        clients,
        training.local_iterations,
        training.batch_size,
        last - first,
    )
    rows += first[:, None, None]
    return rows

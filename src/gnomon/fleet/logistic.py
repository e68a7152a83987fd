"""Multinomial logistic regression in NumPy: the convex model of the papers, fast enough for whole grids.

A few clients are trained side by side, which share the cost of NumPy's calls while their batches stay in the
second-level cache: on two cores this beats one at a time, and all at once, which streams through memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.fleet.data import FederatedData
from gnomon.fleet.learner import LocalTraining, require_clients
from gnomon.fleet.orders import Parameters
from gnomon.fleet.randomness import batch_indices

Singles = NDArray[np.float32]
_LEAST = np.float32(1e-30)
TOGETHER = 4


class LogisticLearner:
    """Softmax regression with cross-entropy loss and `regularisation / 2 * ||w||**2`.

    Parameters are the weights, (classes, features) in rows, then the biases, in one vector.
    """

    name = "logistic regression"

    def __init__(self, data: FederatedData, regularisation: float = 0.0) -> None:
        self.data = data
        self.regularisation = regularisation
        self._features = data.features.reshape(len(data.features), -1)
        self._classes = data.classes
        self._one_hot = _one_hot(data.labels, data.classes)
        self._sample_weights = np.repeat(
            data.weights / np.diff(data.offsets), np.diff(data.offsets)
        )

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return self._classes * (self._features.shape[1] + 1)

    def initial(self, seed: int) -> Parameters:
        """Zeros: the loss is convex, so no seed is needed."""
        return np.zeros(self.size, dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """Kind, sizes, regularisation."""
        return {
            "kind": self.name,
            "parameters": self.size,
            "classes": self._classes,
            "features": int(self._features.shape[1]),
            "regularisation": self.regularisation,
        }

    def train(
        self, parameters: Parameters, clients: NDArray[np.int64], training: LocalTraining
    ) -> tuple[Singles, NDArray[np.float64]]:
        """See `Learner.train`; a client's bits do not depend on which others are asked for."""
        require_clients(self.data, clients)
        updates = np.empty((len(clients), self.size), dtype=np.float32)
        losses = np.empty(len(clients))
        for start in range(0, len(clients), TOGETHER):
            part = slice(start, start + TOGETHER)
            losses[part] = self._train_some(parameters, clients[part], training, updates[part])
        return updates, losses

    def _train_some(
        self,
        parameters: Parameters,
        clients: NDArray[np.int64],
        training: LocalTraining,
        updates: Singles,
    ) -> NDArray[np.float64]:
        """Train a few clients side by side; fills in their updates, and returns their mean losses."""
        rows = self._drawn_rows(clients, training)
        iterations, count, batch = rows.shape
        targets = self._one_hot.take(rows, axis=1)
        chances = np.empty((iterations, count, self._classes, batch), dtype=np.float32)
        before_weights, before_biases = self._split(parameters)
        weights = np.repeat(before_weights[None], count, axis=0)
        biases = np.repeat(before_biases[None], count, axis=0)
        gradient = np.empty_like(weights)
        features = np.empty((count * batch, self._features.shape[1]), dtype=np.float32)
        x = features.reshape(count, batch, -1)
        z = np.empty((count, self._classes, batch), dtype=np.float32)
        step = np.float32(training.learning_rate / batch)
        keep = np.float32(1 - training.learning_rate * (self.regularisation + training.proximal))
        pull = np.float32(training.learning_rate * training.proximal)
        for iteration in range(iterations):
            # All rows exist; `clip` spares NumPy a buffer.
            self._features.take(rows[iteration].ravel(), axis=0, out=features, mode="clip")
            np.matmul(weights, x.transpose(0, 2, 1), out=z)
            z += biases
            z -= np.maximum.reduce(z, axis=1, keepdims=True)
            np.exp(z, out=z)
            p = np.divide(z, np.add.reduce(z, axis=1, keepdims=True), out=chances[iteration])
            np.subtract(p, targets[:, iteration].transpose(1, 0, 2), out=z)
            z *= step
            np.matmul(z, x, out=gradient)
            if keep != 1:
                weights *= keep
                biases *= keep
            if pull:
                weights += pull * before_weights
                biases += pull * before_biases
            weights -= gradient
            biases -= np.add.reduce(z, axis=2, keepdims=True)
        for place, update in enumerate(updates):
            after_weights, after_biases = self._split(update)
            np.subtract(weights[place], before_weights, out=after_weights)
            np.subtract(biases[place], before_biases, out=after_biases)
        picked = np.einsum("ekcb,cekb->keb", chances, targets).reshape(count, -1)
        losses: NDArray[np.float64] = -np.log(np.maximum(picked, _LEAST)).mean(axis=1)
        return losses

    def _drawn_rows(self, clients: NDArray[np.int64], training: LocalTraining) -> NDArray[np.int64]:
        """Rows of each client's batches, shape (iterations, clients, batch)."""
        rows = np.empty(
            (training.local_iterations, len(clients), training.batch_size), dtype=np.int64
        )
        for place, client in enumerate(clients.tolist()):
            first, last = int(self.data.offsets[client]), int(self.data.offsets[client + 1])
            drawn = batch_indices(
                training.seed, training.round_number, client, *rows.shape[::2], last - first
            )
            np.add(drawn, first, out=rows[:, place])
        return rows

    def loss(self, parameters: Parameters) -> float:
        """F(w) in nats: cross-entropy over all clients' samples plus the regularisation."""
        scores = self._scores(parameters, self._features)
        scores -= scores.max(axis=0)
        picked = np.einsum("ij,ij->j", scores, self._one_hot)
        entropies = np.log(np.exp(scores, out=scores).sum(axis=0)) - picked
        penalty = self.regularisation / 2 * float(parameters @ parameters)
        return float(self._sample_weights @ entropies) + penalty

    def quality(self, parameters: Parameters) -> float:
        """Top-1 accuracy on the held-out samples; NaN parameters score nothing."""
        held_out = self.data.test_features.reshape(len(self.data.test_features), -1)
        scores = self._scores(parameters, held_out)
        right = (scores.argmax(axis=0) == self.data.test_labels) & ~np.isnan(scores).any(axis=0)
        return float(right.mean())

    def _scores(self, parameters: Parameters, features: Singles) -> Singles:
        weights, biases = self._split(parameters)
        scores: Singles = weights @ features.T
        scores += biases
        return scores

    def _split(self, parameters: Parameters) -> tuple[Singles, Singles]:
        """Weights (classes, features) and biases (classes, 1), as views."""
        inputs = self._features.shape[1]
        end = self._classes * inputs
        return parameters[:end].reshape(self._classes, inputs), parameters[end:, None]


def _one_hot(labels: NDArray[np.int64], classes: int) -> Singles:
    """Shape (classes, n)."""
    marked = np.zeros((classes, len(labels)), dtype=np.float32)
    marked[labels, np.arange(len(labels))] = 1
    return marked

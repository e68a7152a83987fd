"""Multinomial logistic regression in NumPy: the convex model of the papers, fast enough for whole grids.

One client's iterations run one after another on rows gathered once, so that they stay in the second-level
cache: on two cores this beats stacking all clients into batched products, which stream through memory.
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
        for place, client in enumerate(clients):
            losses[place] = self._train_one(parameters, int(client), training, updates[place])
        return updates, losses

    def _train_one(
        self, parameters: Parameters, client: int, training: LocalTraining, update: Singles
    ) -> float:
        first, last = self.data.offsets[client], self.data.offsets[client + 1]
        iterations, batch = training.local_iterations, training.batch_size
        drawn = batch_indices(
            training.seed, training.round_number, client, iterations, batch, int(last - first)
        )
        rows = (drawn + first).ravel()
        features = self._features.take(rows, axis=0)
        targets = self._one_hot.take(rows, axis=1)
        chances = np.empty((self._classes, iterations * batch), dtype=np.float32)
        before_weights, before_biases = self._split(parameters)
        weights, biases = before_weights.copy(), before_biases.copy()
        gradient = np.empty_like(weights)
        step = np.float32(training.learning_rate / batch)
        keep = np.float32(1 - training.learning_rate * (self.regularisation + training.proximal))
        pull = np.float32(training.learning_rate * training.proximal)
        for start in range(0, iterations * batch, batch):
            part = slice(start, start + batch)
            x = features[part]
            p = chances[:, part]
            np.dot(weights, x.T, out=(z := np.empty_like(p)))
            z += biases
            z -= z.max(axis=0)
            np.exp(z, out=z)
            np.divide(z, z.sum(axis=0), out=p)
            np.subtract(p, targets[:, part], out=z)
            z *= step
            np.dot(z, x, out=gradient)
            if keep != 1:
                weights *= keep
                biases *= keep
            if pull:
                weights += pull * before_weights
                biases += pull * before_biases
            weights -= gradient
            biases -= z.sum(axis=1, keepdims=True)
        after_weights, after_biases = self._split(update)
        np.subtract(weights, before_weights, out=after_weights)
        np.subtract(biases, before_biases, out=after_biases)
        picked = np.einsum("ij,ij->j", chances, targets)
        return float(-np.log(np.maximum(picked, _LEAST)).mean())

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

"""Multinomial logistic regression: the convex model of the papers, fast enough for whole grids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.fleet import softmax_sgd
from gnomon.fleet.data import FederatedData
from gnomon.fleet.learner import LocalTraining, drawn_rows, require_clients
from gnomon.fleet.orders import Parameters
from gnomon.fleet.softmax_sgd import Singles, Step, samples_of, split

_LEAST = np.float32(1e-30)
AT_A_TIME = 64


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
        self._samples = samples_of(self._features, data.labels, data.classes)
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
        """Kind, sizes, regularisation, and whose arithmetic trains."""
        return {
            "kind": self.name,
            "parameters": self.size,
            "classes": self._classes,
            "features": int(self._features.shape[1]),
            "regularisation": self.regularisation,
            "local_training": "compiled" if softmax_sgd.compiled() else "numpy",
        }

    def train(
        self, parameters: Parameters, clients: NDArray[np.int64], training: LocalTraining
    ) -> tuple[Singles, NDArray[np.float64]]:
        """See `Learner.train`; a client's bits do not depend on which others are asked for."""
        require_clients(self.data, clients)
        updates = np.empty((len(clients), self.size), dtype=np.float32)
        losses = np.empty(len(clients))
        rate, proximal = training.learning_rate, training.proximal
        step = Step(rate, 1 - rate * (self.regularisation + proximal), rate * proximal)
        for start in range(0, len(clients), AT_A_TIME):
            part = slice(start, start + AT_A_TIME)
            rows = drawn_rows(self.data, clients[part], training)
            updates[part], chances = softmax_sgd.train(self._samples, parameters, rows, step)
            entropies = -np.log(np.maximum(chances, _LEAST))
            losses[part] = entropies.reshape(len(rows), -1).mean(axis=1)
        return updates, losses

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
        weights, biases = split(parameters, self._classes)
        scores: Singles = weights @ features.T
        scores += biases
        return scores


def _one_hot(labels: NDArray[np.int64], classes: int) -> Singles:
    """Shape (classes, n)."""
    marked = np.zeros((classes, len(labels)), dtype=np.float32)
    marked[labels, np.arange(len(labels))] = 1
    return marked

"""Federations small enough for tests, made alike in tests and in the processes that tests start."""

from __future__ import annotations

import numpy as np

from gnomon.core.task import DataSource
from gnomon.fleet.control import Fixed
from gnomon.fleet.data import FederatedData
from gnomon.fleet.devices import Devices
from gnomon.fleet.logistic import LogisticLearner
from gnomon.fleet.server import Server
from gnomon.fleet.settings import FederatedSettings

FEATURES, CLASSES, SAMPLES = 20, 4, 30


def learner(clients: int) -> LogisticLearner:
    """Logistic regression on clouds of points, with 30 + k samples for client k."""
    generator = np.random.default_rng(0)
    sizes = SAMPLES + np.arange(clients)
    labels = generator.integers(0, CLASSES, sizes.sum() + 50)
    centres = generator.standard_normal((CLASSES, FEATURES))
    points = (centres[labels] + generator.standard_normal((len(labels), FEATURES))).astype("f4")
    data = FederatedData(
        features=points[50:],
        labels=labels[50:],
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        test_features=points[:50],
        test_labels=labels[:50],
        classes=CLASSES,
        source=DataSource("clouds", official=False, sha256="0" * 64),
        partition="given",
    )
    return LogisticLearner(data)


def federation(clients=4, clients_per_round=4, local_iterations=3, rounds=3, **settings) -> Server:
    """A server at its start."""
    model = learner(clients)
    ones = np.ones(clients)
    return Server(
        FederatedSettings(**{"max_rounds": rounds, "batch_size": 8, **settings}),
        model,
        Devices(ones, ones, ones, ones),
        np.diff(model.data.offsets),
        Fixed(clients_per_round, local_iterations),
    )

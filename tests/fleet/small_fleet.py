"""A federation small enough for a test: made-up data of three classes, a few clients, chosen devices."""

from __future__ import annotations

import numpy as np

from gnomon.core.task import DataSource
from gnomon.fleet.control import Fixed
from gnomon.fleet.data import FederatedData
from gnomon.fleet.devices import Devices
from gnomon.fleet.logistic import LogisticLearner
from gnomon.fleet.server import Server
from gnomon.fleet.settings import FederatedSettings


def small_data(sizes=(12, 30, 7, 20, 9, 16), features=5, classes=3, seed=0) -> FederatedData:
    """Three Gaussian clouds, dealt out in the order in which they were drawn."""
    generator = np.random.default_rng(seed)
    held_out = 40
    count = sum(sizes) + held_out
    labels = generator.integers(0, classes, count)
    centres = 2 * generator.standard_normal((classes, features))
    rows = (centres[labels] + generator.standard_normal((count, features))).astype(np.float32)
    return FederatedData(
        features=rows[held_out:],
        labels=labels[held_out:],
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        test_features=rows[:held_out],
        test_labels=labels[:held_out],
        classes=classes,
        source=DataSource("three clouds", official=False, sha256="-"),
        partition="given",
    )


def small_devices(clients=6) -> Devices:
    """Client k takes 1 + k seconds an exchange and 0.1 * (1 + k) an iteration; joules are a tenth of it."""
    place = 1.0 + np.arange(clients)
    return Devices(0.1 * place, place, 0.01 * place, 0.1 * place)


def small_server(
    clients_per_round=3, local_iterations=2, *, learner=None, controller=None, **settings
):
    """A server of six clients at its start."""
    data = small_data()
    return Server(
        FederatedSettings(**{"max_rounds": 20, "batch_size": 4, **settings}),
        learner or LogisticLearner(data),
        small_devices(data.clients),
        np.diff(data.offsets),
        controller or Fixed(clients_per_round, local_iterations),
    )

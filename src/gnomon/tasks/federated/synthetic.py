"""Synthetic(alpha, beta) of FedProx (Li et al., MLSys 2020): clients whose data and models differ by design.

Made from a seed alone. Sizes are those of Luo et al. (INFOCOM 2021), setup 3.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gnomon.core.errors import SettingsError
from gnomon.core.task import DataSource
from gnomon.fleet.label_counts import apportioned
from gnomon.fleet.partition import Partition
from gnomon.fleet.randomness import keyed
from gnomon.fleet.task import FederatedTask, Pool

FEATURES = 60
CLASSES = 10
MEAN_SAMPLES = 245.17
"""Training samples a client: 24,517 for the paper's 100 clients."""
LEAST_SAMPLES = 50
"""As in FedProx's generator, which adds 50 to a log-normal number."""
SIGMA = 1.393
"""Of that log-normal: 100 clients' sizes then have a standard deviation of 362, the paper's."""
HELD_OUT = 9
"""One sample is held out for so many that a client trains on: a tenth of all, FedProx's share."""


def synthetic(alpha: float, beta: float, clients: int, seed: int) -> Pool:
    """A federation of Synthetic(alpha, beta), `natural` giving each training sample's client.

    Client k's model is W_k (60, 10) and b_k (10), all from N(u_k, 1) with u_k from N(0, alpha); its features
    are from N(v_k, diag(j^-1.2)), j = 1 to 60, with v_k from N(B_k, 1) and B_k from N(0, beta). A label is
    the argmax of x W_k + b_k. alpha and beta are standard deviations, as in FedProx's own code.

    Sizes are the quantiles of a log-normal distribution in random order: independent draws would have a
    standard deviation anywhere from 270 to 530 and more, these have the paper's for every seed.

    Args:
        alpha: How much local models differ.
        beta: How much local data differ.
        clients: N.
        seed: Of everything.

    Returns:
        Features float32, shape (n, 60), each client's in turn, 24,517 for 100 clients, at least 50 each. Test
        samples are in the same order.

    Raises:
        SettingsError: alpha or beta is negative, or there is no client.
    """
    if not (0 <= alpha < np.inf and 0 <= beta < np.inf):
        raise SettingsError(
            f"Synthetic takes alpha and beta of zero or more, got {alpha:g} and {beta:g}"
        )
    if clients < 1:
        raise SettingsError(f"there must be at least one client, got {clients} (--clients)")
    total = round(MEAN_SAMPLES * clients)
    drawn = np.exp(SIGMA * ndtri((np.arange(clients) + 0.5) / clients))
    sizes = LEAST_SAMPLES + apportioned(drawn, total - LEAST_SAMPLES * clients, 0, total)
    keyed(seed, "synthetic sizes").shuffle(sizes)
    generator = keyed(seed, "synthetic clients")
    model_mean = generator.normal(0, alpha, clients)
    data_mean = generator.normal(0, beta, clients)
    centres = generator.normal(data_mean[:, None], 1, (clients, FEATURES)).astype(np.float32)
    weights = generator.normal(model_mean[:, None, None], 1, (clients, FEATURES, CLASSES))
    biases = generator.normal(model_mean[:, None], 1, (clients, CLASSES))
    train = _drawn(seed, "synthetic samples", sizes, centres, weights, biases)
    test = _drawn(seed, "synthetic held out", -(-sizes // HELD_OUT), centres, weights, biases)
    digest = hashlib.sha256()
    for array in (*train, sizes, *test):
        digest.update(array.tobytes())
    name = f"Synthetic({alpha:g}, {beta:g}), generated, {clients} clients, seed {seed}"
    return Pool(
        *train,
        *test,
        classes=CLASSES,
        source=DataSource(name, official=False, sha256=digest.hexdigest()),
        natural=np.repeat(np.arange(clients), sizes),
    )


class FederatedSynthetic(FederatedTask):
    """Classify 60 generated numbers into ten classes; Synthetic(1, 1).

    An input is float32 (60,); an output is the scores of the ten classes. Subclass it for another alpha or
    beta. With the partition `natural`, exactly so many clients as are asked for are generated; with any
    other, their samples are dealt out anew.
    """

    name = "federated-synthetic"
    default_partition = Partition("natural")
    alpha: ClassVar[float] = 1.0
    beta: ClassVar[float] = 1.0

    def pool(self, clients: int, seed: int) -> Pool:
        """See `synthetic`."""
        return synthetic(self.alpha, self.beta, clients, seed)


def _drawn(
    seed: int,
    purpose: str,
    sizes: NDArray[np.int64],
    centres: NDArray[np.float32],
    weights: NDArray[np.float64],
    biases: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Samples of each client in turn: features (n, 60) and labels (n,)."""
    owners = np.repeat(np.arange(len(sizes)), sizes)
    features = keyed(seed, purpose).standard_normal((len(owners), FEATURES), dtype=np.float32)
    features *= (np.arange(1, FEATURES + 1) ** -0.6).astype(np.float32)
    features += centres[owners]
    labels = np.empty(len(owners), dtype=np.int64)
    ends = np.cumsum(sizes)
    for client, (start, end) in enumerate(zip(ends - sizes, ends, strict=True)):
        # In double precision no two scores are so close that another machine would order them otherwise.
        scores = features[start:end].astype(np.float64) @ weights[client] + biases[client]
        labels[start:end] = scores.argmax(axis=1)
    return features, labels

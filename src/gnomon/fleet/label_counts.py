"""How many samples of each label every client gets, as whole numbers: the arithmetic behind `partition.py`.

A table of counts has shape (N, labels); which rows they are is drawn elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow

from gnomon.core.errors import SettingsError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


def apportioned(weights: Floats, total: int, least: int, most: int) -> Integers:
    """Whole numbers in proportion to `weights`, each from `least` to `most`, that sum to `total`.

    Largest remainders decide who is rounded up. The bounds must leave room for `total`.
    """
    weights = np.maximum(weights, weights.max() * 1e-12)  # so that everybody can reach `most`
    low, high = 0.0, 2 * most / float(weights.min())
    for _ in range(200):
        middle = (low + high) / 2
        if np.clip(middle * weights, least, most).sum() <= total:
            low = middle
        else:
            high = middle
    ideal = np.clip(low * weights, least, most)
    whole = np.floor(ideal).astype(np.int64)
    missing = total - int(whole.sum())
    remainders = np.where(whole < most, ideal - whole, -1.0)
    whole[np.argsort(-remainders, kind="stable")[:missing]] += 1
    return whole


def split_labels(
    alpha: float, clients: int, stock: Integers, least: int, generator: np.random.Generator
) -> Integers:
    """Samples of each label at each client, shape (N, labels): each label's are split by Dirichlet shares.

    A client that comes out with fewer than `least` gets samples from those that have most.

    Args:
        alpha: Of the symmetric Dirichlet distribution over the clients.
        clients: N.
        stock: Samples of each label, shape (labels,).
        least: Samples a client has at least.
        generator: Where chance comes from.
    """
    shares = generator.dirichlet(np.full(clients, alpha), len(stock)).T
    edges = np.rint(np.cumsum(shares, axis=0) * stock).astype(np.int64)
    edges[-1] = stock
    counts = np.diff(edges, axis=0, prepend=0)
    sizes = counts.sum(axis=1)
    for poor in np.flatnonzero(sizes < least):
        while sizes[poor] < least:
            rich = int(np.argmax(sizes))
            label = int(np.argmax(counts[rich]))
            counts[rich, label] -= 1
            counts[poor, label] += 1
            sizes[rich] -= 1
            sizes[poor] += 1
    return counts


def skewed_clients(
    alpha: float, sizes: Integers, stock: Integers, generator: np.random.Generator
) -> Integers:
    """Samples of each label at each client, shape (N, labels): each client draws from its own Dirichlet mix.

    Clients draw in random order; when a label has run out, the rest of a mix is scaled up.

    Args:
        alpha: Sum of the Dirichlet distribution's parameters, which are in proportion to `stock`.
        sizes: Samples of each client, shape (N,); not more in all than there are.
        stock: Samples of each label, shape (labels,).
        generator: Where chance comes from.
    """
    counts = np.zeros((len(sizes), len(stock)), dtype=np.int64)
    left, prior = stock.copy(), stock / stock.sum()
    for client in generator.permutation(len(sizes)):
        mix = generator.dirichlet(alpha * prior)
        while missing := int(sizes[client] - counts[client].sum()):
            chances = np.where(left > 0, mix, 0)
            if chances.sum() <= 0:
                chances = left
            taken = np.minimum(generator.multinomial(missing, chances / chances.sum()), left)
            counts[client] += taken
            left -= taken
    return counts


def few_labels(
    kept: int,
    sizes: Integers,
    stock: Integers,
    least: int,
    equal: bool,
    generator: np.random.Generator,
) -> Integers:
    """Samples of each label at each client, shape (N, labels), at most `kept` labels in a row.

    Args:
        kept: Labels a client.
        sizes: Samples wanted of each client, shape (N,). Where its labels have too few it gets fewer, at
            least `least`; if `equal`, all clients then do.
        stock: Samples of each label, shape (labels,).
        least: Samples a client has at least.
        equal: Whether all sizes must stay equal.
        generator: Where chance comes from.

    Raises:
        SettingsError: There is no such table.
    """
    clients = len(sizes)
    labels = _labels_held(kept, clients, stock, generator)
    for shrink in (1.0, *[0.9] * 60):
        ideal = _balanced(labels, sizes, stock)
        counts = _rounded(labels, ideal, sizes, stock)
        if counts is not None:
            return counts
        # Some clients' labels have too few samples for these sizes.
        possible = np.minimum(sizes, np.floor(ideal.sum(axis=1) + 1e-6))
        if equal:
            possible[:] = possible.min()
        sizes = np.maximum(np.floor(possible * shrink), least).astype(np.int64)
    raise SettingsError(
        f"labels:{kept} cannot be dealt to {clients} clients from {stock.sum()} samples: use fewer "
        f"clients or more labels a client"
    )


def _labels_held(
    kept: int, clients: int, stock: Integers, generator: np.random.Generator
) -> Integers:
    """Which labels each client has, shape (N, kept), none twice in a row; more hold a frequent label."""
    holders = apportioned(stock.astype(np.float64), clients * kept, 0, clients)
    order = generator.permutation(len(stock))
    # No label has more than N holders, so N places apart there is never the same label twice.
    held = np.repeat(order, holders[order]).reshape(kept, clients).T.copy()
    swaps = generator.integers(0, [clients, clients, kept, kept], (4 * held.size, 4))
    for one, other, place, to in swaps.tolist():
        mine, theirs = held[one, place], held[other, to]
        if one != other and mine not in held[other] and theirs not in held[one]:
            held[one, place], held[other, to] = theirs, mine
    return held


def _balanced(labels: Integers, sizes: Integers, stock: Integers) -> Floats:
    """How many samples of its labels each client should have, shape (N, kept), no label above its stock.

    Alternately scaled to sizes and to stock (iterative proportional fitting), from equal parts of each label.
    """
    ideal = np.repeat(sizes[:, None] / labels.shape[1], labels.shape[1], axis=1)
    for _ in range(100):
        ideal *= (sizes / ideal.sum(axis=1))[:, None]
        asked = np.bincount(labels.ravel(), ideal.ravel(), minlength=len(stock))
        ideal *= np.minimum(stock / np.maximum(asked, stock), 1)[labels]
    return ideal


def _rounded(labels: Integers, ideal: Floats, sizes: Integers, stock: Integers) -> Integers | None:
    """`ideal` in whole samples with exactly these sizes, shape (N, labels); None if there is no way.

    What rounding down leaves is a flow from clients through their labels to the stock, which has a solution
    in whole numbers whenever it has one at all; if it has none, less of `ideal` is held fixed.
    """
    clients, kept = labels.shape
    rows = np.repeat(np.arange(clients), kept)
    for fixed in (1.0, 0.5, 0.0):
        counts = np.zeros((clients, len(stock)), dtype=np.int64)
        counts[rows, labels.ravel()] = np.floor(fixed * ideal).ravel()
        missing, left = sizes - counts.sum(axis=1), stock - counts.sum(axis=0)
        if missing.min() < 0:
            continue
        sink = 1 + clients + len(stock)
        sources = [np.zeros(clients, int), 1 + rows, 1 + clients + np.arange(len(stock))]
        targets = [
            1 + np.arange(clients),
            1 + clients + labels.ravel(),
            np.full(len(stock), sink),
        ]
        capacities = [missing, missing[rows], left]
        graph = csr_matrix(
            (
                np.concatenate(capacities).astype(np.int32),
                (np.concatenate(sources), np.concatenate(targets)),
            ),
            shape=(sink + 1, sink + 1),
        )
        result = maximum_flow(graph, 0, sink)
        if result.flow_value == missing.sum():
            counts += result.flow[1 : 1 + clients, 1 + clients : sink].toarray()
            return counts
    return None

"""Which client holds which samples: partitions written as text (`labels:2,limit=6000`), and dealt by a seed.

Works on labels alone; `task.py` deals the samples accordingly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError, UnknownNameError
from gnomon.core.extras import optional_module
from gnomon.fleet.label_counts import (
    Integers,
    apportioned,
    few_labels,
    skewed_clients,
    split_labels,
)
from gnomon.fleet.randomness import keyed

KINDS = ("iid", "dirichlet", "labels", "natural")
SIZES = ("equal", "normal", "power-law")
OPTIONS = ("sizes", "limit", "min")
EXAMPLES = "iid, dirichlet:0.5, labels:2, power-law"
POWER_LAW_SIGMA = 2.0
"""Of the log-normal in FedProx's own generator (Li et al., MLSys 2020)."""


@dataclass(frozen=True)
class Sizes:
    """How many samples clients hold, in proportion to each other.

    Attributes:
        kind: `equal`, up to one sample; `normal`; `power-law`: log-normal, as in what the papers call so.
        spread: Of `normal` the standard deviation over the mean; of `power-law` the log-normal's sigma.
    """

    kind: str
    spread: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in SIZES:
            raise UnknownNameError("sizes", self.kind, SIZES)
        most = {"equal": 0.0, "normal": 1.0, "power-law": 5.0}[self.kind]
        if not 0 <= self.spread <= most:
            raise SettingsError(
                f"sizes={self.kind} takes a spread from 0 to {most:g}, got {self.spread:g}"
            )

    def __str__(self) -> str:
        return self.kind if self.kind == "equal" else f"{self.kind}:{_written(self.spread)}"

    def draw(
        self, clients: int, total: int, least: int, generator: np.random.Generator
    ) -> Integers:
        """Sizes that sum to `total`, none below `least`, shape (clients,)."""
        if self.kind == "normal":
            weights = np.maximum(1 + self.spread * generator.standard_normal(clients), 0.05)
        else:
            weights = generator.lognormal(0, self.spread, clients)
        return apportioned(weights, total, least, total)


@dataclass(frozen=True)
class Partition:
    """How samples are dealt out to clients. `str` of it is what `parse_partition` reads.

    Attributes:
        kind: `iid`: at random. `labels`: each client has samples of a few labels only (McMahan et al.,
            AISTATS 2017). `dirichlet`: each label's samples are split by shares from a symmetric Dirichlet
            distribution over the clients (Yurochkin et al., ICML 2019); with `sizes`, each client's labels
            follow a Dirichlet distribution around those of all samples instead (Hsu et al., 2019).
            `natural`: the data set's own clients.
        parameter: Labels a client, or the concentration alpha.
        sizes: Samples a client; None for the kind's own: equal, except for `dirichlet` and `natural`.
        limit: Deal only so many samples.
        least: Samples a client has at least; natural clients with fewer are left out.
    """

    kind: str
    parameter: float | None = None
    sizes: Sizes | None = None
    limit: int | None = None
    least: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("partition", self.kind, (*KINDS, "power-law"))
        value = self.parameter
        if self.kind in ("iid", "natural") and value is not None:
            raise SettingsError(f"partition {self.kind} takes no number, got {value:g}")
        if self.kind == "dirichlet" and not (value is not None and 1e-3 <= value <= 1e6):
            raise SettingsError(
                f"partition dirichlet needs alpha from 0.001 to 1000000, got {value} (dirichlet:0.5)"
            )
        if self.kind == "labels" and not (value is not None and value >= 1 and value % 1 == 0):
            raise SettingsError(
                f"partition labels needs a whole number of labels a client, got {value} (labels:2)"
            )
        if self.kind == "natural" and (self.sizes or self.limit is not None):
            raise SettingsError(
                "partition natural takes neither sizes nor limit: clients hold what is theirs"
            )
        for name, number in (("limit", self.limit), ("min", self.least)):
            if number is not None and number < 1:
                raise SettingsError(f"{name} of a partition must be 1 or more, got {number}")

    def __str__(self) -> str:
        parts = [self.kind if self.parameter is None else f"{self.kind}:{_written(self.parameter)}"]
        if self.sizes:
            parts.append(f"sizes={self.sizes}")
        if self.limit is not None:
            parts.append(f"limit={self.limit}")
        if self.least != 1:
            parts.append(f"min={self.least}")
        return ",".join(parts)


def parse_partition(text: str) -> Partition:
    """A partition from `KIND[:NUMBER][,sizes=...][,limit=SAMPLES][,min=SAMPLES]`.

    `power-law[:SIGMA]` is short for `iid,sizes=power-law[:SIGMA]`. The setups of Luo et al. (INFOCOM 2021)
    are `labels:2,limit=6000` with 20 clients, `labels:2,sizes=normal:0.0335` with 100, and `natural` with 100
    clients of Synthetic(1,1).

    Raises:
        SettingsError: A number is missing, is none or out of range, or options contradict each other.
        UnknownNameError: No partition, sizes or option of that name.
    """
    head, *rest = (part.strip() for part in text.split(","))
    options: dict[str, str] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if name not in OPTIONS:
            raise UnknownNameError("option of a partition", name, OPTIONS)
        if not equals or name in options:
            raise SettingsError(f"partition {text!r} must give {name} once, as {name}=VALUE")
        options[name] = value
    kind, _, value = head.partition(":")
    if kind == "power-law":
        if "sizes" in options:
            raise SettingsError(f"partition {text!r} gives sizes twice: use iid,sizes=...")
        options["sizes"], head = head, "iid"
        kind, value = "iid", ""
    return Partition(
        kind,
        _number(value, head) if ":" in head else None,
        _sizes(options["sizes"]) if "sizes" in options else None,
        _whole(options["limit"], "limit") if "limit" in options else None,
        _whole(options.get("min", "1"), "min"),
    )


def partition_rows(
    partition: Partition,
    labels: NDArray[Any],
    clients: int,
    seed: int,
    natural: Integers | None = None,
) -> tuple[Integers, ...]:
    """Each client's rows, in ascending order; no client is empty and no row is given twice.

    Rows may be left over: beyond `limit`, of natural clients that are not drawn, and with `labels` where a
    client's labels have too few samples (then all clients are made smaller, if sizes are equal).

    Args:
        partition: How to deal.
        labels: Of every sample, shape (n,).
        clients: N.
        seed: The same seed deals the same.
        natural: The number of each sample's own client, shape (n,), where the data set has such.

    Raises:
        SettingsError: More clients than samples (or than natural clients), no natural clients, or more labels
            a client than there are.
    """
    if clients < 1:
        raise SettingsError(f"there must be at least one client, got {clients} (--clients)")
    generator = keyed(seed, "partition")
    if partition.kind == "natural":
        owners = _natural(natural, clients, partition.least, generator)
    else:
        owners = _dealt(partition, labels, clients, generator)
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], np.arange(clients + 1))
    return tuple(order[start:end] for start, end in pairwise(starts))


def from_flower(
    partitioner: Any, labels: NDArray[Any], columns: Mapping[str, Sequence[Any]] | None = None
) -> tuple[Integers, ...]:
    """Each client's rows by a partitioner of flwr-datasets, as from `partition_rows`.

    Args:
        partitioner: Any `flwr_datasets.partitioner.Partitioner`, made with `partition_by="label"` if it goes
            by labels. It is given a data set; use a new one for each call.
        labels: Of every sample, shape (n,).
        columns: Further columns that it goes by, such as a natural client's name.

    Raises:
        MissingExtraError: The package `datasets` is not installed.
        SettingsError: It leaves a client empty, or gives a row twice.
    """
    data_sets = optional_module("datasets", "flwr-datasets", "fed", "a partitioner of Flower's")
    values = {"label": np.asarray(labels).tolist(), "row": list(range(len(labels)))}
    partitioner.dataset = data_sets.Dataset.from_dict({**(columns or {}), **values})
    rows = tuple(
        np.asarray(partitioner.load_partition(client)["row"], dtype=np.int64)
        for client in range(partitioner.num_partitions)
    )
    kind = type(partitioner).__name__
    empty = [client for client, part in enumerate(rows) if len(part) == 0]
    if empty:
        raise SettingsError(f"{kind} leaves client {empty[0]} without samples: use fewer clients")
    given = np.concatenate(rows)
    if len(np.unique(given)) != len(given):
        raise SettingsError(f"{kind} gives a sample to more than one client: use another")
    return rows


def _dealt(
    partition: Partition, labels: NDArray[Any], clients: int, generator: np.random.Generator
) -> Integers:
    """The client of each row, -1 for a row left over, shape (n,)."""
    total = len(labels) if partition.limit is None else partition.limit
    least = partition.least
    if total > len(labels):
        raise SettingsError(f"limit={total} is more than the {len(labels)} samples: use less")
    if clients * least > total:
        raise SettingsError(
            f"{total} samples cannot be dealt to {clients} clients, at least {least} each: use "
            f"--clients {total // least} or fewer"
        )
    sizes = partition.sizes or Sizes("equal")
    drawn = sizes.draw(clients, total, least, generator)
    owners = np.full(len(labels), -1, dtype=np.int64)
    if partition.kind == "iid":
        owners[generator.permutation(len(labels))[:total]] = np.repeat(np.arange(clients), drawn)
        return owners
    names, numbers = np.unique(labels, return_inverse=True)
    stock = np.bincount(numbers, minlength=len(names))
    assert partition.parameter is not None
    if partition.kind == "labels":
        kept = int(partition.parameter)
        if kept > len(names):
            raise SettingsError(
                f"labels:{kept} asks for more labels than the {len(names)} there are"
            )
        counts = few_labels(kept, drawn, stock, least, sizes.kind == "equal", generator)
    elif partition.sizes:
        counts = skewed_clients(partition.parameter, drawn, stock, generator)
    else:
        if total < len(labels):
            stock = generator.multivariate_hypergeometric(stock, total, method="marginals")
        counts = split_labels(partition.parameter, clients, stock, least, generator)
    for number in range(len(names)):
        holders = np.repeat(np.arange(clients), counts[:, number])
        rows = generator.permutation(np.flatnonzero(numbers == number))
        owners[rows[: len(holders)]] = holders
    return owners


def _natural(
    natural: Integers | None, clients: int, least: int, generator: np.random.Generator
) -> Integers:
    if natural is None:
        raise SettingsError(
            f"partition natural needs data that comes with clients of its own, and this does not: use "
            f"{EXAMPLES} (--partition)"
        )
    numbers, counts = np.unique(natural, return_counts=True)
    numbers = numbers[counts >= least]
    if clients > len(numbers):
        raise SettingsError(
            f"{clients} clients were asked for, the data has {len(numbers)} with {least} or more samples: "
            f"use --clients {len(numbers)} or fewer"
        )
    chosen = np.sort(generator.choice(numbers, clients, replace=False))
    places = np.minimum(np.searchsorted(chosen, natural), clients - 1)
    owners: Integers = np.where(chosen[places] == natural, places, -1).astype(np.int64)
    return owners


def _sizes(text: str) -> Sizes:
    kind, colon, value = text.partition(":")
    if kind == "normal" and not colon:
        raise SettingsError("sizes=normal needs the standard deviation over the mean: normal:0.03")
    default = POWER_LAW_SIGMA if kind == "power-law" else 0.0
    return Sizes(kind, _number(value, f"sizes={text}") if colon else default)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SettingsError(f"partition {where!r} needs a number after the colon, got {text!r}")
    return value


def _whole(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise SettingsError(f"{name} of a partition must be a whole number, got {text!r}")
    return int(text)


def _written(value: float) -> str:
    """The shortest text that reads back as the same number, without an exponent."""
    return np.format_float_positional(value, trim="-")

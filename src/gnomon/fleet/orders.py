"""What passes between the server and its clients: an order for one round, and the reports that come back.

The server (`server.py`) makes orders and takes reports in; whether those travel to a simulation or to real
processes is the fleet's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Parameters = NDArray[np.float32]
"""A model's parameters as one vector, shape (P,)."""


Start = Literal["here", "beginning", "best"]
"""Which parameters a round starts from: where training stands, the initial ones, or those with least loss."""


class Choice(NamedTuple):
    """K and E."""

    clients_per_round: int
    local_iterations: int


@dataclass(frozen=True)
class Decision:
    """What a controller wants of the next round. Unpacks as `K, E = controller.next(state)`.

    Attributes:
        clients_per_round: K.
        local_iterations: E.
        phase: `estimate` while rounds are run to learn the constants, else `train`; the ledger keeps it.
        start: The parameters to start from: where training stands, the initial ones, or those with the least
            loss seen so far.
        why: In words, for the report and the log.
    """

    clients_per_round: int
    local_iterations: int
    phase: Literal["estimate", "train"] = "train"
    start: Start = "here"
    why: str = ""

    def __iter__(self) -> Iterator[int]:
        return iter((self.clients_per_round, self.local_iterations))


@dataclass(frozen=True)
class Stop:
    """A controller's word that it wants no further round, and why."""

    why: str


@dataclass(frozen=True)
class Order:
    """One round as the server wants it.

    Attributes:
        round_number: From 0.
        clients: Those asked to take part, shape (K',), each once: K, or more if the server over-selects, or
            fewer if sampling with replacement drew one twice.
        draws: How often each was drawn, shape (K',): its update counts so many times.
        wanted: K: how many reports complete the round.
        local_iterations: E.
        learning_rate: Of this round.
        deadline_s: Reports that take longer are late and are not used; None to wait for all that live.
        parameters: The model to start from.
        start: As decided: unless `here`, a new course of training begins.
    """

    round_number: int
    clients: NDArray[np.int64]
    draws: NDArray[np.int64]
    wanted: int
    local_iterations: int
    learning_rate: float
    deadline_s: float | None
    parameters: Parameters = field(repr=False)
    start: Start = "here"


class Outcome(StrEnum):
    """What became of one client's part in a round."""

    USED = "used"  # reported, and its update was aggregated
    SPARE = "spare"  # reported after the round was complete
    LATE = "late"  # reported after the deadline, or would have
    DROPPED = "dropped"  # died, or was not reachable
    REJECTED = "rejected"  # reported something that cannot be used


@dataclass(frozen=True)
class Report:
    """What came of one client in one round.

    Attributes:
        client: Its number.
        outcome: As the fleet saw it; the server may still reject the update.
        update: Its parameters minus the order's, shape (P,); None if nothing came.
        samples: Its number of samples n_k.
        loss: Mean training loss over its local iterations; NaN if unknown.
        duration_s: From the order to the report (or to when it was given up).
        compute_s: Of that, local iterations.
        energy_j: Joules it used; a client that dropped out or came late used some as well.
        compute_j: Of that, local iterations.
        note: For a person: why it was dropped or rejected, or how energy was measured.
        staleness: Rounds between the one it began in and the one it reported in; 0 unless rounds are
            asynchronous.
    """

    client: int
    outcome: Outcome
    update: Parameters | None
    samples: int
    loss: float
    duration_s: float
    compute_s: float
    energy_j: float
    compute_j: float
    note: str = ""
    staleness: int = 0


@dataclass(frozen=True)
class Reports:
    """All that came of one order.

    Attributes:
        reports: One for each client asked, in the order's order.
        duration_s: The round: from the order until the server went on.
        extra: What else the fleet wants on record.
    """

    reports: tuple[Report, ...]
    duration_s: float
    extra: dict[str, Any] = field(default_factory=dict)

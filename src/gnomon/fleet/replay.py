"""A simulated federation held against its seed: who was asked, and what it took, without training anything.

On a virtual clock both follow from the devices' figures, the settings and the seed.
"""

from __future__ import annotations

import numpy as np

from gnomon.fleet.assembly import Federation
from gnomon.fleet.asynchronous import Work
from gnomon.fleet.ledger import Rows
from gnomon.fleet.orders import Order, Outcome
from gnomon.fleet.record import FleetSamples
from gnomon.fleet.server import sampled_clients
from gnomon.fleet.simulated import next_available, timing

CLOSE = 1e-9
"""Relative; the same arithmetic on another machine may round otherwise."""
COSTS_OF_CLIENTS = ("duration_s", "compute_s", "energy_j", "compute_j")


def clock_faults(samples: FleetSamples, federation: Federation, *, over: bool = True) -> list[str]:
    """Where clients, seconds or joules are not those that devices and seed give; at most one a round.

    Args:
        samples: The record.
        federation: Gives settings, shares and faults; what devices cost is the record's.
        over: Whether it came to its end: only then is charged who was still at work.
    """
    settings = federation.settings
    if settings.concurrency is not None:
        return _asynchronous_faults(samples, federation, over)
    samples_of = federation.samples
    weights = samples_of / samples_of.sum()
    clients = samples.clients
    order = np.argsort(clients["round"], kind="stable")
    starts = np.searchsorted(clients["round"][order], np.arange(len(samples.rounds) + 1))
    now_s = 0.0
    found = []
    for number, row in enumerate(samples.rounds):
        theirs = clients[order[starts[number] : starts[number + 1]]]
        available, began_s = next_available(
            federation.behaviour, len(samples.devices), now_s, settings.seed
        )
        wanted = int(row["clients_per_round"])
        asked, draws = sampled_clients(settings, weights, number, wanted, available)
        if not np.array_equal(theirs["client"], asked) or not np.array_equal(
            theirs["draws"], draws
        ):
            found.append(f"round {number} asked other clients than its seed gives")
            now_s += float(row["duration_s"])
            continue
        if not np.array_equal(theirs["samples"], samples_of[asked]):
            found.append(f"round {number} lists other numbers of samples than its clients have")
        took = timing(
            samples.devices,
            Order(
                round_number=number,
                clients=asked,
                draws=draws,
                wanted=min(wanted, len(asked)),
                local_iterations=int(row["local_iterations"]),
                learning_rate=float(row["learning_rate"]),
                deadline_s=settings.deadline_s,
                parameters=np.zeros(0, dtype=np.float32),
            ),
            federation.behaviour,
            settings.seed,
            began_s,
        )
        round_s = began_s - now_s + took.round_s
        if apart := _apart(theirs, took.duration_s, took.compute_s, took.energy_j, took.compute_j):
            found.append(f"round {number}: {apart} is not what the devices take")
        elif not np.isclose(row["duration_s"], round_s, rtol=CLOSE, atol=1e-9):
            found.append(f"round {number}: duration_s is not what the devices take")
        elif not _outcomes_agree(theirs, took.outcomes):
            found.append(f"round {number}: clients did not end as devices and seed have it")
        now_s += float(row["duration_s"])
    return found


def _asynchronous_faults(samples: FleetSamples, federation: Federation, over: bool) -> list[str]:
    """The same where rounds are asynchronous; only the first, for all that comes later follows from it."""
    settings, samples_of = federation.settings, federation.samples
    work = Work(samples.devices, federation.behaviour, settings)
    clients, nobody = samples.clients, np.zeros(0, dtype=np.int64)
    now_s = 0.0
    for number, row in enumerate(samples.rounds):
        wanted = int(row["clients_per_round"])
        if not 1 <= wanted <= len(samples.devices):
            return [f"round {number} waits for {wanted} of {len(samples.devices)} clients"]
        order = Order(
            round_number=number,
            clients=nobody,
            draws=nobody,
            wanted=wanted,
            local_iterations=int(row["local_iterations"]),
            learning_rate=float(row["learning_rate"]),
            deadline_s=settings.deadline_s,
            parameters=np.zeros(0, dtype=np.float32),
            start=row["start"].item(),
        )
        tasks, ended_s = work.gather(order, now_s)
        round_s = max(ended_s - now_s, 0.0)
        now_s += float(row["duration_s"])
        if over and number == len(samples.rounds) - 1:
            tasks += work.stop(now_s)
        theirs = clients[clients["round"] == number]
        told = [
            (task.client, 1, int(samples_of[task.client]), number - task.began_in) for task in tasks
        ]
        if theirs[["client", "draws", "samples", "staleness"]].tolist() != told:
            return [f"round {number} has other clients than its seed gives, or other facts of them"]
        costs = [np.array([getattr(task, name) for task in tasks]) for name in COSTS_OF_CLIENTS]
        if apart := _apart(theirs, *costs):
            return [f"round {number}: {apart} is not what the devices take"]
        if not np.isclose(row["duration_s"], round_s, rtol=CLOSE, atol=1e-9):
            return [f"round {number}: duration_s is not what the devices take"]
        if not _outcomes_agree(theirs, tuple(task.outcome for task in tasks)):
            return [f"round {number}: clients did not end as devices and seed have it"]
    return []


def _apart(theirs: Rows, *expected: np.ndarray) -> str:
    """The first column that differs, or nothing."""
    for name, values in zip(COSTS_OF_CLIENTS, expected, strict=True):
        if not np.allclose(theirs[name], values, rtol=CLOSE, atol=1e-12):
            return f"{name} of client {int(theirs['client'][np.argmax(theirs[name] != values)])}"
    return ""


def _outcomes_agree(theirs: Rows, expected: tuple[Outcome, ...]) -> bool:
    """A report that came may still have been rejected by the server."""
    return all(
        said == outcome.value or (said == Outcome.REJECTED.value and outcome is Outcome.USED)
        for said, outcome in zip(theirs["outcome"].tolist(), expected, strict=True)
    )

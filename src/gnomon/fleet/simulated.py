"""A simulated fleet: clients really train, the devices' figures say what it takes, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.fleet.behaviour import Behaviour
from gnomon.fleet.devices import Devices, Floats
from gnomon.fleet.orders import Order, Outcome, Report, Reports
from gnomon.fleet.server import Server


def simulate(
    server: Server,
    behaviour: Behaviour | None = None,
    observer: Callable[[Server], None] | None = None,
) -> None:
    """Run a federation to its end, or on to it if it was restored.

    With `concurrency` in its settings rounds are asynchronous (`asynchronous.py`).

    Args:
        server: The federation; its `devices` say what a round takes.
        behaviour: Which clients are away, drop out or slow down; None for a fleet without faults.
        observer: Called after every round.
    """
    behaviour = behaviour or Behaviour()
    if server.settings.concurrency is not None:
        from gnomon.fleet.asynchronous import simulate_asynchronously  # which uses `timing`

        simulate_asynchronously(server, behaviour, observer)
        return
    clients, seed = len(server.devices), server.settings.seed
    while server.ended is None:
        started_s = server.ledger.duration_s
        available, now_s = next_available(behaviour, clients, started_s, seed)
        order = server.next_order(available)
        if order is None:
            return
        server.receive(order, carry_out(server, order, behaviour, waited_s=now_s - started_s))
        if observer:
            observer(server)


def next_available(
    behaviour: Behaviour, clients: int, now_s: float, seed: int
) -> tuple[NDArray[np.int64] | None, float]:
    """Who can be asked from now on, as soon as there is anybody; and when that is."""
    available = behaviour.available(clients, now_s, seed)
    while available is not None and not len(available):
        now_s = behaviour.next_change_s(clients, now_s, seed)
        available = behaviour.available(clients, now_s, seed)
    return available, now_s


def carry_out(server: Server, order: Order, behaviour: Behaviour, waited_s: float = 0.0) -> Reports:
    """One round: who reports when, at what energy, and with which update.

    The round is complete with the `wanted`-th report, or at the deadline, or when nobody is left to wait for.
    Whoever is still working then stops: it has used the energy of the share of its work that it did.

    Args:
        server: Gives devices, learner and settings.
        order: What the server asked for.
        behaviour: Faults.
        waited_s: Time nobody was available before the round; part of its duration.
    """
    began_s = server.ledger.duration_s + waited_s
    took = timing(server.devices, order, behaviour, server.settings.seed, began_s)
    clients = order.clients
    working = np.flatnonzero(took.reports)
    updates, losses = server.learner.train(
        order.parameters, clients[working], server.local_training(order)
    )
    trained = {int(place): row for row, place in enumerate(working)}
    reports = tuple(
        Report(
            client=int(client),
            outcome=took.outcomes[place],
            update=updates[trained[place]] if place in trained else None,
            samples=int(server.samples[client]),
            loss=float(losses[trained[place]]) if place in trained else float("nan"),
            duration_s=float(took.duration_s[place]),
            compute_s=float(took.compute_s[place]),
            energy_j=float(took.energy_j[place]),
            compute_j=float(took.compute_j[place]),
        )
        for place, client in enumerate(clients)
    )
    return Reports(reports, duration_s=waited_s + took.round_s)


@dataclass(frozen=True)
class Timing:
    """What a round takes; arrays have shape (K',), in the order's order.

    Attributes:
        duration_s: How long each client was busy.
        compute_s: Of that, local iterations.
        energy_j: What each used.
        compute_j: Of that, local iterations.
        outcomes: What became of each.
        reports: Who had done its work when the round ended.
        round_s: The round, from the order on.
    """

    duration_s: Floats
    compute_s: Floats
    energy_j: Floats
    compute_j: Floats
    outcomes: tuple[Outcome, ...]
    reports: NDArray[np.bool_]
    round_s: float


def timing(
    devices: Devices, order: Order, behaviour: Behaviour, seed: int, began_s: float = 0.0
) -> Timing:
    """What this order takes a simulated fleet: a function of figures and seed, whatever is trained.

    Args:
        devices: What each client costs.
        order: Whom it asks, and for what.
        behaviour: Faults.
        seed: Of the federation.
        began_s: When the clients began, on the fleet's clock: a trace says which leave before they are done.
    """
    clients, iterations = order.clients, order.local_iterations
    fates = behaviour.fates(order, seed)
    whole_s = devices.duration_s(iterations)[clients] * fates.slowdown
    compute_s = devices.compute_s[clients] * iterations * fates.slowdown
    whole_j = devices.energy_j(iterations)[clients] * fates.slowdown
    compute_j = devices.compute_j[clients] * iterations * fates.slowdown
    dropped = fates.dropped_after < 1
    until_s = np.where(dropped, whole_s * fates.dropped_after, whole_s)
    left_s = behaviour.stays_s(clients, began_s)
    dropped |= left_s < until_s
    until_s = np.minimum(until_s, left_s)
    deadline_s = np.inf if order.deadline_s is None else order.deadline_s

    in_time = np.sort(until_s[~dropped & (until_s <= deadline_s)])
    if len(in_time) >= order.wanted:
        end_s = float(in_time[order.wanted - 1])
    else:
        end_s = float(min(until_s.max(), deadline_s))
    spent_s = np.minimum(until_s, end_s)
    share = np.divide(spent_s, whole_s, out=np.ones_like(spent_s), where=whole_s > 0)
    return Timing(
        duration_s=spent_s,
        compute_s=compute_s * share,
        energy_j=whole_j * share,
        compute_j=compute_j * share,
        outcomes=tuple(
            _outcome(float(until), bool(gone), end_s, deadline_s)
            for until, gone in zip(until_s, dropped, strict=True)
        ),
        reports=~dropped & (until_s <= end_s),
        round_s=end_s,
    )


def _outcome(until_s: float, dropped: bool, end_s: float, deadline_s: float) -> Outcome:
    """What became of a client that would be busy for `until_s` in a round that ended at `end_s`."""
    if until_s <= end_s:
        return Outcome.DROPPED if dropped else Outcome.USED
    return Outcome.LATE if until_s > deadline_s else Outcome.SPARE

"""Asynchronous rounds on the virtual clock: buffered aggregation (FedBuff).

Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation" (AISTATS 2022): M clients are at
work at all times, and the server aggregates as soon as K have reported. A round is one aggregation.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError
from gnomon.fleet.behaviour import Behaviour
from gnomon.fleet.devices import Devices
from gnomon.fleet.orders import Order, Outcome, Report, Reports
from gnomon.fleet.randomness import keyed
from gnomon.fleet.server import Server
from gnomon.fleet.settings import FederatedSettings
from gnomon.fleet.simulated import timing

AGAIN = 2**32
"""The n-th time (from 0) that a client begins in round r has number r + n * AGAIN: the first time its batches
and its fate are those of a synchronous round r, after that others."""
MOST_LOST = 10
"""A round in which MOST_LOST * K clients dropped out or came late goes on with the reports that it has."""

_AT_WORK = np.dtype(
    [
        ("client", np.int64),
        ("number", np.int64),
        ("began_s", np.float64),
        ("local_iterations", np.int64),
        ("learning_rate", np.float64),
    ]
)
_TASKS, _MODEL = "tasks", "model_"


@dataclass(frozen=True)
class Task:
    """A client's work, from the order to its report or to where it drops out.

    Attributes:
        order: What it began with: model, E and learning rate; its round number is the task's (`AGAIN`).
        client: Who does it.
        began_s: When, on the fleet's clock.
        outcome: What becomes of it.
        duration_s: How long the client is busy.
        compute_s: Of that, local iterations.
        energy_j: What it uses.
        compute_j: Of that, local iterations.
    """

    order: Order
    client: int
    began_s: float
    outcome: Outcome
    duration_s: float
    compute_s: float
    energy_j: float
    compute_j: float

    @property
    def ends_s(self) -> float:
        """When, on the fleet's clock."""
        return self.began_s + self.duration_s

    @property
    def began_in(self) -> int:
        """The round."""
        return self.order.round_number % AGAIN

    def share_done(self, now_s: float) -> float:
        """From 0 to 1."""
        if not self.duration_s:
            return 1.0
        return min(max(now_s - self.began_s, 0.0) / self.duration_s, 1.0)

    def stopped(self, now_s: float) -> Task:
        """The same, broken off now: seconds and joules are those of the share of its work that was done."""
        share = self.share_done(now_s)
        return replace(
            self,
            outcome=Outcome.SPARE,
            duration_s=share * self.duration_s,
            compute_s=share * self.compute_s,
            energy_j=share * self.energy_j,
            compute_j=share * self.compute_j,
        )


class Work:
    """Clients at work on the virtual clock: who begins and ends when follows from figures and seed alone.

    Events of one instant are taken in together: who reports then is in the buffer before anybody begins anew.

    Attributes:
        devices: What each client costs.
        behaviour: Faults.
        settings: Concurrency, deadline and seed.
    """

    def __init__(self, devices: Devices, behaviour: Behaviour, settings: FederatedSettings) -> None:
        if settings.concurrency is None:
            raise SettingsError(
                "asynchronous rounds need a number of clients at work: set concurrency"
            )
        settings.require_clients(len(devices))
        self.devices = devices
        self.behaviour = behaviour
        self.settings = settings
        self._concurrency = settings.concurrency
        self._queue: list[
            tuple[float, int, Task]
        ] = []  # by end, then client: who is there but once
        self._begun: Counter[int] = Counter()  # how often each client began in this round
        self._draws = 0  # of clients, in this round

    def gather(self, order: Order, now_s: float) -> tuple[list[Task], float]:
        """Let clients work until enough have reported; whoever ends is replaced by another not at work.

        Args:
            order: The round: how many reports complete it, and what those that begin in it are to do. If a
                new course of training begins with it, all that are at work are stopped.
            now_s: When it begins, on the fleet's clock.

        Returns:
            Tasks that ended in it, in that order, those that were stopped first; and when it was complete.
        """
        ended = [] if order.start == "here" else self.stop(now_s)
        self._begun, self._draws = Counter(), 0
        reported = lost = 0
        while reported < order.wanted and lost < MOST_LOST * order.wanted:
            if not self._queue or self._queue[0][0] > now_s + _instant(now_s):
                self._replenish(order, now_s)
                now_s = max(now_s, self._next_event_s(now_s))
                continue
            task = heapq.heappop(self._queue)[-1]
            now_s = max(now_s, task.ends_s)
            ended.append(task)
            if task.outcome is Outcome.USED:
                reported += 1
            else:
                lost += 1
        return ended, now_s

    def stop(self, now_s: float) -> list[Task]:
        """Break off everything: what was at work, with what it had used by now; nothing is afterwards."""
        stopped = [task.stopped(now_s) for _, _, task in sorted(self._queue)]
        self._queue = []
        return stopped

    def used_j(self, now_s: float) -> float:
        """Joules that those at work have used by now."""
        return sum(task.energy_j * task.share_done(now_s) for _, _, task in self._queue)

    def begin(self, order: Order, now_s: float) -> None:
        """Have all clients of this order begin now; its round number is that of the tasks."""
        took = timing(self.devices, order, self.behaviour, self.settings.seed, now_s)
        for place, client in enumerate(order.clients.tolist()):
            task = Task(
                order,
                client,
                now_s,
                took.outcomes[place],
                float(took.duration_s[place]),
                float(took.compute_s[place]),
                float(took.energy_j[place]),
                float(took.compute_j[place]),
            )
            heapq.heappush(self._queue, (task.ends_s, client, task))

    def saved(self) -> dict[str, NDArray[Any]]:
        """What is at work, as arrays; the inverse of `restore`."""
        tasks = [task for _, _, task in sorted(self._queue)]
        rows = [
            (
                task.client,
                task.order.round_number,
                task.began_s,
                task.order.local_iterations,
                task.order.learning_rate,
            )
            for task in tasks
        ]
        models = {f"{_MODEL}{task.began_in}": task.order.parameters for task in tasks}
        return {_TASKS: np.array(rows, dtype=_AT_WORK), **models}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Have at work what was when these were saved; nothing if there are none.

        Raises:
            DataError: They were saved by another version.
        """
        rows = arrays.get(_TASKS)
        if rows is None:
            return
        if rows.dtype != _AT_WORK:
            raise DataError(
                "clients at work were saved by another version: start the federation anew"
            )
        for client, number, began_s, iterations, rate in rows.tolist():
            model = arrays[f"{_MODEL}{number % AGAIN}"]
            self.begin(self._order([client], number, iterations, rate, model), began_s)

    def _replenish(self, order: Order, now_s: float) -> None:
        """As many clients begin as are missing from those at work, or as are there."""
        missing = self._concurrency - len(self._queue)
        if missing <= 0:
            return
        clients = len(self.devices)
        can = np.ones(clients, dtype=bool)
        can[[client for _, client, _ in self._queue]] = False
        available = self.behaviour.available(clients, now_s, self.settings.seed)
        pool = np.flatnonzero(can) if available is None else available[can[available]]
        if not len(pool):
            return
        # The first draw of a round is the one that a synchronous round would make.
        places = (order.round_number, self._draws) if self._draws else (order.round_number,)
        generator = keyed(self.settings.seed, "clients", *places)
        self._draws += 1
        chosen = np.sort(generator.choice(pool, size=min(missing, len(pool)), replace=False))
        by_number: dict[int, list[int]] = {}
        for client in chosen.tolist():
            by_number.setdefault(self._begun[client], []).append(client)
            self._begun[client] += 1
        for times, theirs in by_number.items():
            number = order.round_number + times * AGAIN
            rate = order.learning_rate
            self.begin(
                self._order(theirs, number, order.local_iterations, rate, order.parameters), now_s
            )

    def _order(
        self,
        clients: list[int],
        number: int,
        local_iterations: int,
        learning_rate: float,
        parameters: NDArray[np.float32],
    ) -> Order:
        return Order(
            round_number=number,
            clients=np.array(clients, dtype=np.int64),
            draws=np.ones(len(clients), dtype=np.int64),
            wanted=len(clients),  # each is let finish
            local_iterations=local_iterations,
            learning_rate=learning_rate,
            deadline_s=self.settings.deadline_s,
            parameters=parameters,
        )

    def _next_event_s(self, now_s: float) -> float:
        """When the next client ends, or comes where too few are there."""
        next_s = self._queue[0][0] if self._queue else np.inf
        if len(self._queue) < self._concurrency:
            clients, seed = len(self.devices), self.settings.seed
            next_s = min(next_s, self.behaviour.next_change_s(clients, now_s, seed))
        return float(next_s)


def simulate_asynchronously(
    server: Server, behaviour: Behaviour, observer: Callable[[Server], None] | None = None
) -> None:
    """Run a federation with asynchronous rounds to its end, or on to it if it was restored.

    A round's energy is that of the clients that ended in it, whenever they began. Those still at work when
    the federation is over are stopped; what they had used by then is charged to the last round, and counts
    towards a budget of joules all along. Clients at work are saved and restored with the server, so that a
    federation that was broken off goes on with the same bits.

    Controllers take the time of a round as that of the slowest of K clients, which here it is not: what they
    choose is a choice for synchronous rounds.

    Args:
        server: The federation; its settings say how many are at work.
        behaviour: Which clients are away, drop out or slow down.
        observer: Called after every round.
    """
    work = Work(server.devices, behaviour, server.settings)
    work.restore(server.carried)
    server.pending_j = work.used_j(server.ledger.duration_s)
    while (order := server.next_order()) is not None:
        began_s = server.ledger.duration_s
        tasks, ended_s = work.gather(order, began_s)
        reports = _reports(server, tasks, order.round_number)
        clients = np.array([task.client for task in tasks], dtype=np.int64)
        server.carried, server.pending_j = work.saved(), work.used_j(ended_s)
        server.receive(
            replace(order, clients=clients, draws=np.ones(len(tasks), dtype=np.int64)),
            Reports(reports, max(ended_s - began_s, 0.0)),
        )
        if observer:
            observer(server)
    stopped = work.stop(server.ledger.duration_s)
    server.charge([_report(server, task, len(server.ledger.rounds) - 1) for task in stopped])


def _reports(server: Server, tasks: Sequence[Task], round_number: int) -> tuple[Report, ...]:
    """The tasks' reports, in their order; only now is trained what they brought."""
    trained: dict[int, tuple[NDArray[np.float32], float]] = {}
    for together in _alike(task for task in tasks if task.outcome is Outcome.USED):
        order = together[0].order
        clients = np.array([task.client for task in together], dtype=np.int64)
        training = server.local_training(order)
        updates, losses = server.learner.train(order.parameters, clients, training)
        for task, update, loss in zip(together, updates, losses.tolist(), strict=True):
            trained[id(task)] = (update, loss)
    return tuple(
        _report(server, task, round_number, *trained.get(id(task), (None, float("nan"))))
        for task in tasks
    )


def _alike(tasks: Iterable[Task]) -> Iterable[list[Task]]:
    """Tasks of one number: they began with the same model and do the same."""
    found: dict[int, list[Task]] = {}
    for task in tasks:
        found.setdefault(task.order.round_number, []).append(task)
    return found.values()


def _report(
    server: Server,
    task: Task,
    round_number: int,
    update: NDArray[np.float32] | None = None,
    loss: float = float("nan"),
) -> Report:
    return Report(
        client=task.client,
        outcome=task.outcome,
        update=update,
        samples=int(server.samples[task.client]),
        loss=loss,
        duration_s=task.duration_s,
        compute_s=task.compute_s,
        energy_j=task.energy_j,
        compute_j=task.compute_j,
        staleness=round_number - task.began_in,
    )


def _instant(now_s: float) -> float:
    """How far apart times may be that are the same but for rounding."""
    return 1e-12 * (1 + now_s)

"""Gnomon's server as a Flower strategy: its orders become messages, and what comes back becomes reports.

Rounds go on until the server says the federation is over, not for a number fixed beforehand. Clients that are
late, dead or send garbage are outcomes in the ledger, never exceptions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from numpy.typing import NDArray

from gnomon.core.errors import SystemFault
from gnomon.fleet.learner import LocalTraining
from gnomon.fleet.orders import Order, Outcome, Reports
from gnomon.systems.flower.exchange import Exchange, Gathered
from gnomon.systems.flower.reports import reports_of, understood
from gnomon.systems.flower.wire import (
    HELLO,
    TRAIN,
    Introduction,
    Unusable,
    arrays_of,
    order_content,
    read_introduction,
)
from gnomon.systems.flower.work import Work

LOOK_EVERY_S = 0.05
NODE_TIMEOUT_S = 60.0


class Federation(Protocol):
    """What the strategy needs of `gnomon.fleet.server.Server`, wherever that lives."""

    samples: NDArray[np.int64]

    def next_order(self, available: NDArray[np.int64] | None = None) -> Order | None:
        """The next round, or None when the federation is over."""

    def receive(self, order: Order, reports: Reports) -> None:
        """Take in what came of it."""

    def local_training(self, order: Order) -> LocalTraining:
        """How its clients train."""


@dataclass(frozen=True)
class _Round:
    order: Order
    asked: Mapping[int, Message]


class GnomonStrategy(Strategy):
    """Drives a federation over Flower.

    A client's `duration_s` is its round trip as the server sees it, from the moment all orders are handed to
    Flower to the one its reply is there: local training, both transfers, and Flower's own handling of a
    message. `compute_s` is the client's own measurement; what is left counts as communication, at the
    client's radio watts. A client that was given up is assumed to have computed until then.
    """

    def __init__(
        self,
        federation: Federation,
        work: Work,
        *,
        look_every_s: float = LOOK_EVERY_S,
        gone: Callable[[], Mapping[int, str]] = dict,
        node_timeout_s: float = NODE_TIMEOUT_S,
    ) -> None:
        """Make a strategy for one federation.

        Args:
            federation: The server.
            work: Recipe of the clients' learner.
            look_every_s: How often to look for replies.
            gone: Clients whose process is known to have ended, and why.
            node_timeout_s: How long to wait for all clients to introduce themselves.
        """
        self.federation = federation
        self.work = work
        self.look_every_s = look_every_s
        self.gone = gone
        self.node_timeout_s = node_timeout_s
        self.introductions: dict[int, Introduction] = {}
        self._exchange: Exchange | None = None
        self._met: set[int] = set()
        self._greeted: dict[str, int] = {}
        self._round: _Round | None = None
        self._gathered: Gathered | None = None

    def summary(self) -> None:
        """Nothing: the run folder says all."""

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int = 0,
        timeout: float = 0,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Run rounds until the server ends the federation. All but `grid` is the server's business.

        Raises:
            SystemFault: Clients did not connect in time, or none is left.
        """
        self._meet_all(grid)
        result = Result()
        number = 0
        while True:
            number += 1
            messages = self.configure_train(number, ArrayRecord(), ConfigRecord(), grid)
            if self._round is None:
                return result
            replies = self._gather(messages)
            arrays, metrics = self.aggregate_train(number, replies)
            if arrays is not None:
                result.arrays = arrays
            if metrics is not None:
                result.train_metrics_clientapp[number] = metrics

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the server for its next order; no messages when the federation is over."""
        order = self.federation.next_order(self._available(grid))
        if order is None:
            self._round = None
            return []
        training = self.federation.local_training(order)
        parameters = arrays_of(order.parameters)
        nodes = self._link(grid).nodes
        asked = {
            int(client): Message(
                order_content(parameters, training, self.work),
                dst_node_id=nodes[int(client)],
                message_type=TRAIN,
                group_id=str(order.round_number),
            )
            for client in order.clients
        }
        self._round, self._gathered = _Round(order, asked), None
        return list(asked.values())

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Hand what came to the server."""
        assert self._round is not None, "aggregate_train was called before configure_train"
        order = self._round.order
        gathered = self._gathered
        assert gathered is not None, "rounds are run by `start`"
        reports = reports_of(order, gathered, self.federation.samples, self.introductions)
        self.federation.receive(order, reports)
        used = sum(report.outcome is Outcome.USED for report in reports.reports)
        return None, MetricRecord({"duration_s": reports.duration_s, "used": used})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """None: the server evaluates the global loss itself."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """None: no client evaluates."""
        return None

    def _gather(self, messages: Iterable[Message]) -> list[Message]:
        assert self._round is not None
        assert self._exchange is not None
        order = self._round.order

        def usable(client: int, reply: Message) -> bool:
            return not isinstance(understood(reply, client, order), str)

        self._gathered = self._exchange.gather(
            list(self._round.asked.items()), usable, order.wanted, order.deadline_s
        )
        return [arrival.reply for arrival in self._gathered.arrivals.values()]

    def _link(self, grid: Grid) -> Exchange:
        if self._exchange is None:
            self._exchange = Exchange(grid, self.look_every_s, self.gone)
        return self._exchange

    def _available(self, grid: Grid) -> NDArray[np.int64] | None:
        """Clients that can be asked now; waits while all are busy with old orders."""
        exchange = self._link(grid)
        while True:
            self._meet(grid)
            exchange.settle()
            there = exchange.connected()
            free = sorted(there - set(exchange.busy.values()))
            if len(free) == len(self.federation.samples):
                return None
            if free:
                return np.array(free, dtype=np.int64)
            if not there:
                raise SystemFault(
                    f"none of the {len(self.federation.samples)} clients is left: see their logs"
                )
            time.sleep(self.look_every_s)

    def _meet_all(self, grid: Grid) -> None:
        """Wait until every client has said who it is."""
        until_s = time.monotonic() + self.node_timeout_s
        exchange = self._link(grid)
        wanted = set(range(len(self.federation.samples)))
        while True:
            self._meet(grid)
            missing = sorted(wanted - set(exchange.nodes) - set(self.gone()))
            if not missing:
                return
            if time.monotonic() > until_s:
                raise SystemFault(
                    f"clients {', '.join(map(str, missing))} did not connect within "
                    f"{self.node_timeout_s:g} s: see their logs"
                )
            time.sleep(self.look_every_s)

    def _meet(self, grid: Grid) -> None:
        """Greet nodes that are new, and note who answered."""
        exchange = self._link(grid)
        known = self._met | set(self._greeted.values())
        for new in [node for node in grid.get_node_ids() if node not in known]:
            greeting = Message(RecordDict(), dst_node_id=new, message_type=HELLO)
            pushed = set(grid.push_messages([greeting]))
            if (number := greeting.metadata.message_id) in pushed:
                self._greeted[number] = new
        if not self._greeted:
            return
        for reply in grid.pull_messages(list(self._greeted)):
            node = self._greeted.pop(reply.metadata.reply_to_message_id, None)
            if node is None:
                continue
            self._met.add(node)
            introduction = self._introduced(reply, exchange, there=set(grid.get_node_ids()))
            if isinstance(introduction, Introduction):
                exchange.nodes[introduction.client] = node
                self.introductions[introduction.client] = introduction
            elif self._round is None:
                raise SystemFault(f"node {node} cannot take part: it {introduction}")

    def _introduced(
        self, reply: Message, exchange: Exchange, there: Container[int]
    ) -> Introduction | str:
        """Who a node says it is; or in words why it is of no use."""
        if reply.has_error():
            return f"failed: {reply.error.reason}"
        try:
            introduction = read_introduction(reply.content)
        except Unusable as error:
            return f"is not Gnomon's client app: it {error}"
        client = introduction.client
        if not 0 <= client < len(self.federation.samples):
            return f"calls itself client {client}, of {len(self.federation.samples)}"
        # Once rounds are on, a node that comes back may do so before the old one is known to be gone.
        if self._round is None and exchange.nodes.get(client) in there:
            return f"calls itself client {client}, as another does"
        return introduction

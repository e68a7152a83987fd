"""One round on the wire: orders out, replies in, each with the time it took, until the round is over.

Flower's own `send_and_receive` looks every 3 s and takes one whole reply after another: times would come in
steps, and a slow upload would be everybody's. This looks as often as it is told and waits for nobody
(`pulling.py`). Whoever did not answer in time stays busy until its answer to the old order is in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.serverapp import Grid

from gnomon.systems.flower.pulling import Puller

LOOK_FOR_LOST_EVERY_S = 2.0


@dataclass(frozen=True)
class Arrival:
    """A reply and when it was here, in seconds after its order went out."""

    reply: Message
    after_s: float


@dataclass(frozen=True)
class Gathered:
    """What came of one round's orders; every client asked is in one of the three.

    Attributes:
        arrivals: By client, in order of arrival.
        lost: By client: after how long it was found to be gone, and why.
        pending: Clients that were neither heard of nor lost when the round was over.
        ended_s: When the round was over, after the orders went out.
        late: Whether it was the deadline that ended it.
    """

    arrivals: Mapping[int, Arrival]
    lost: Mapping[int, tuple[float, str]]
    pending: frozenset[int]
    ended_s: float
    late: bool


@dataclass
class Exchange:
    """Messages to numbered clients over a Flower grid.

    Attributes:
        grid: Flower's.
        look_every_s: How often to ask for replies; times are exact to this.
        gone: Clients whose process is known to have ended, with the reason; asked at every look.
        nodes: Flower's node of each client number.
        busy: Clients that still owe an answer to an old order, by message.
        puller: Brings the replies.
    """

    grid: Grid
    look_every_s: float
    gone: Callable[[], Mapping[int, str]]
    nodes: dict[int, int] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    puller: Puller = field(init=False)

    def __post_init__(self) -> None:
        self.puller = Puller(self.grid)

    def gather(
        self,
        messages: Sequence[tuple[int, Message]],
        usable: Callable[[int, Message], bool],
        wanted: int,
        deadline_s: float | None,
    ) -> Gathered:
        """Send orders; take in replies until enough are usable, the deadline, or nobody is left."""
        started_s = time.monotonic()
        waiting, unsent = self._sent(messages)
        lost = dict.fromkeys(unsent, (0.0, "could not be reached"))
        arrivals: dict[int, Arrival] = {}
        looked_for_lost_s = started_s
        good = 0
        while True:
            self.puller.ask([*waiting, *self.busy])
            time.sleep(_until(started_s, deadline_s, self.look_every_s))
            for reply in self.puller.landed():
                self.busy.pop(reply.answers, None)
                if (client := waiting.pop(reply.answers, None)) is not None:
                    arrivals[client] = Arrival(reply.message, reply.here_s - started_s)
                    good += usable(client, reply.message)
            now_s = time.monotonic()
            dead = dict(self.gone())
            if now_s - looked_for_lost_s > LOOK_FOR_LOST_EVERY_S:
                looked_for_lost_s = now_s
                dead |= self._disconnected(waiting.values())
            for message, client in list(waiting.items()):
                if client in dead:
                    del waiting[message]
                    lost[client] = (now_s - started_s, dead[client])
            elapsed_s = now_s - started_s
            late = deadline_s is not None and elapsed_s >= deadline_s
            if late or not waiting or good >= wanted:
                break
        self.busy |= waiting
        in_order = dict(sorted(arrivals.items(), key=lambda item: item[1].after_s))
        return Gathered(in_order, lost, frozenset(waiting.values()), elapsed_s, late)

    def settle(self) -> None:
        """Take in answers to old orders, and forget those of clients that are gone."""
        self.puller.ask(list(self.busy))
        for reply in self.puller.landed():
            self.busy.pop(reply.answers, None)
        dead = self.gone()
        self.busy = {message: client for message, client in self.busy.items() if client not in dead}

    def connected(self) -> set[int]:
        """Clients that have introduced themselves and are still there."""
        there, dead = set(self.grid.get_node_ids()), self.gone()
        return {
            client for client, node in self.nodes.items() if node in there and client not in dead
        }

    def _disconnected(self, clients: Collection[int]) -> dict[int, str]:
        there = self.connected()
        return {client: "is no longer connected" for client in clients if client not in there}

    def _sent(self, messages: Sequence[tuple[int, Message]]) -> tuple[dict[str, int], list[int]]:
        """Clients by the message on its way to them, and those it could not be sent to."""
        # Where one could not be sent, some grids return None and others nothing: what tells is whether
        # the message's own number is among those returned.
        accepted = set(self.grid.push_messages([message for _, message in messages]))
        sent, unsent = {}, []
        for client, message in messages:
            number = message.metadata.message_id
            if number in accepted:
                sent[number] = client
            else:
                unsent.append(client)
        return sent, unsent


def _until(started_s: float, deadline_s: float | None, pause_s: float) -> float:
    """How long to wait before the next look: no longer than to the deadline."""
    if deadline_s is None:
        return pause_s
    return max(0.0, min(pause_s, started_s + deadline_s - time.monotonic()))

"""A Flower grid without Flower's processes: replies come when, and as, the test says."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from flwr.app import Error, Message, RecordDict

from gnomon.systems.flower.client_app import trained
from gnomon.systems.flower.wire import HELLO, Introduction, introduction_content, report_content

FIRST_NODE = 100
WATTS_COMPUTE, WATTS_RADIO = 3.0, 0.5

Answer = tuple[float, RecordDict | Error | None]
Behaviour = Callable[[Message, int], Answer]


def introduced(client: int) -> Introduction:
    return Introduction(client, "model", WATTS_COMPUTE, WATTS_RADIO)


def honest(message: Message, client: int, after_s: float = 0.0) -> Answer:
    """Train, and report after this time."""
    return after_s, report_content(*trained(message, introduced(client)))


class FakeGrid:
    """Clients 0 to N - 1 on nodes 100 to 99 + N.

    Attributes:
        behaviours: By (round, client): what it does in place of training honestly; round -1: when greeted.
        trained: (round, client) of all orders that went out.
        unreachable: Clients no message can be sent to.
    """

    def __init__(self, clients: int, behaviours: dict[tuple[int, int], Behaviour] | None = None):
        self.nodes = {FIRST_NODE + client: client for client in range(clients)}
        self.behaviours = behaviours or {}
        self.introductions = {client: introduced(client) for client in range(clients)}
        self.trained: list[tuple[int, int]] = []
        self.unreachable: set[int] = set()
        self._numbers = itertools.count()
        self._replies: dict[str, tuple[float, Message | None]] = {}

    def get_node_ids(self):
        return list(self.nodes)

    def push_messages(self, messages):
        return [self._pushed(message) for message in messages]

    def _pushed(self, message: Message) -> str | None:
        number = str(next(self._numbers))
        message.metadata.__dict__["_message_id"] = number
        client = self.nodes[message.metadata.dst_node_id]
        if message.metadata.message_type == HELLO:
            greet = self.behaviours.get((-1, client), self._greet)
            answer = greet(message, client)
        else:
            place = (int(message.metadata.group_id), client)
            if client in self.unreachable:
                return None
            self.trained.append(place)
            answer = self.behaviours.get(place, honest)(message, client)
        after_s, content = answer
        reply = None if content is None else Message(content, reply_to=message)
        self._replies[number] = (time.monotonic() + after_s, reply)
        return number

    def _greet(self, message: Message, client: int) -> Answer:
        return 0.0, introduction_content(self.introductions[client])

    def pull_messages(self, numbers):
        now_s = time.monotonic()
        ready = [
            number
            for number in numbers
            if number in self._replies and self._replies[number][0] <= now_s
        ]
        replies = [self._replies[number][1] for number in ready]
        for number, reply in zip(ready, replies, strict=True):
            if reply is not None:
                del self._replies[number]
        return [reply for reply in replies if reply is not None]

"""Replies as they come in: several threads ask Flower's grid, so that no slow upload holds up another.

A reply is announced before it is whole; whoever pulls it waits for the rest. A reply that one thread is
waiting for is reported to the others as missing, so such words are believed only when no one is waiting.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.serverapp import Grid

MESSAGE_UNAVAILABLE = 3  # of Flower's error codes
PULLS_AT_ONCE = 8


@dataclass(frozen=True)
class Reply:
    """A whole reply, and when it was here by the monotonic clock."""

    message: Message
    here_s: float

    @property
    def answers(self) -> str:
        """The message that it answers."""
        return self.message.metadata.reply_to_message_id


@dataclass
class Puller:
    """Asks a grid for replies again and again."""

    grid: Grid
    _pulls: list[Future[Sequence[Reply]]] = field(default_factory=list)
    _doubtful: list[tuple[Reply, list[Future[Sequence[Reply]]]]] = field(default_factory=list)
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(PULLS_AT_ONCE, "gnomon-pull")
    )

    def ask(self, messages: Collection[str]) -> None:
        """Start to ask for replies to these messages, unless too many are being waited for."""
        if messages and len(self._pulls) < PULLS_AT_ONCE:
            self._pulls.append(self._threads.submit(self._pulled, list(messages)))

    def landed(self) -> Iterator[Reply]:
        """Replies that are here; each once."""
        finished = [pull for pull in self._pulls if pull.done()]
        for pull in finished:
            others = [other for other in self._pulls if other is not pull]
            for reply in pull.result():
                error = reply.message.error if reply.message.has_error() else None
                if error is not None and error.code == MESSAGE_UNAVAILABLE and others:
                    self._doubtful.append((reply, others))
                else:
                    yield reply
        self._pulls = [pull for pull in self._pulls if pull not in finished]
        held, self._doubtful = self._doubtful, []
        for reply, others in held:
            if all(pull.done() for pull in others):
                yield reply
            else:
                self._doubtful.append((reply, others))

    def _pulled(self, messages: Sequence[str]) -> list[Reply]:
        replies = list(self.grid.pull_messages(messages))
        here_s = time.monotonic()
        return [Reply(message, here_s) for message in replies]

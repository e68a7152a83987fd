"""The server across two processes: it stays where it was made, Flower's ServerApp asks it from its own.

One request at a time over a Unix socket in a folder of the user's own, in pickles. The server, its ledger and
its controller are never copied, and outlive a ServerApp that dies.
"""

from __future__ import annotations

import pickle
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import GnomonError, SystemFault, described
from gnomon.fleet.learner import LocalTraining
from gnomon.fleet.orders import Order, Reports
from gnomon.fleet.server import Server
from gnomon.systems.flower.work import Work

SOCKET = "server"


@dataclass(frozen=True)
class Briefing:
    """What the ServerApp has to know at its start.

    Attributes:
        samples: n_k of every client, shape (N,).
        work: Recipe of the clients' learner.
        look_every_s: How often to look for replies.
        node_timeout_s: How long to wait for all clients.
        gone_folder: Where `depart` leaves word.
    """

    samples: NDArray[np.int64]
    work: Work
    look_every_s: float
    node_timeout_s: float
    gone_folder: Path


def depart(folder: Path, client: int, why: str) -> None:
    """Leave word that a client's node has ended."""
    unfinished = folder / f".{client}"
    unfinished.write_text(why)
    unfinished.replace(folder / str(client))


def departures(folder: Path) -> dict[int, str]:
    """Clients whose node has ended, and how."""
    return {int(path.name): path.read_text() for path in folder.iterdir() if path.name.isdigit()}


class Channel:
    """Pickled objects over a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._stream = connection.makefile("rwb")

    def fileno(self) -> int:
        """For `select`."""
        return self.connection.fileno()

    def send(self, value: Any) -> None:
        """Raises OSError when nobody listens."""
        pickle.dump(value, self._stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._stream.flush()

    def receive(self) -> Any:
        """Raises EOFError or OSError when the other side is gone."""
        return pickle.load(self._stream)

    def close(self) -> None:
        """Hang up."""
        for part in (self._stream, self.connection):
            with suppress(OSError):  # the other side hung up with our bytes unread
                part.close()


class Desk:
    """The server's side: answers what the ServerApp asks.

    Attributes:
        finished: Whether the ServerApp said that it is done.
    """

    def __init__(self, server: Server, briefing: Briefing) -> None:
        self.server = server
        self.finished = False
        self._briefing = briefing
        self._order: Order | None = None

    def answer(self, channel: Channel) -> bool:
        """Take in and answer one request; True if a round was completed by it.

        Raises:
            GnomonError: The server refused what its controller wanted, or the ServerApp gave up.
            EOFError, OSError: The ServerApp is gone.
        """
        kind, content = channel.receive()
        try:
            value = self._answered(kind, content)
        except Exception as error:
            channel.send((False, described(error)))
            raise
        channel.send((True, value))
        return bool(kind == "receive")

    def _answered(self, kind: str, content: Any) -> Any:
        if kind == "briefing":
            return self._briefing
        if kind == "next":
            self._order = self.server.next_order(content)
            return self._order and (self._order, self.server.local_training(self._order))
        if kind == "receive":
            assert self._order is not None
            self.server.receive(self._order, content)
            return None
        if kind == "finished":
            self.finished = True
            return None
        raise SystemFault(str(content))


class RemoteServer:
    """The ServerApp's side: looks like the server to the strategy.

    Attributes:
        briefing: What the server's side said at the start.
        samples: n_k of every client, shape (N,).
    """

    def __init__(self, address: str) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            raise SystemFault(
                f"nobody answers at {address} ({error.strerror}): this app runs under Gnomon's "
                f"`flower` system, which must not have ended"
            ) from None
        self._channel = Channel(connection)
        self.briefing: Briefing = self._ask("briefing")
        self.samples = self.briefing.samples
        self._training: LocalTraining | None = None

    def next_order(self, available: NDArray[np.int64] | None = None) -> Order | None:
        """See `Server.next_order`."""
        answer = self._ask("next", available)
        if answer is None:
            return None
        order: Order
        order, self._training = answer
        return order

    def local_training(self, order: Order) -> LocalTraining:
        """See `Server.local_training`; of the latest order."""
        assert self._training is not None
        return self._training

    def receive(self, order: Order, reports: Reports) -> None:
        """See `Server.receive`."""
        self._ask("receive", reports)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._ask("finished")
            elif isinstance(error, GnomonError):
                self._ask("fault", str(error))
        except (OSError, EOFError, GnomonError):
            pass  # the other side knows more than this one
        finally:
            self.close()

    def close(self) -> None:
        """Hang up; without a word before, the server's side takes it that this one died."""
        self._channel.close()

    def _ask(self, kind: str, content: Any = None) -> Any:
        self._channel.send((kind, content))
        fine, value = self._channel.receive()
        if not fine:
            raise SystemFault(value)
        return value

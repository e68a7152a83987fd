"""One federation over Flower, from its processes' start to their end, while the server answers here."""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from gnomon.core.errors import SystemFault
from gnomon.fleet.server import Server
from gnomon.fleet.system import RoundObserver
from gnomon.systems.flower.handover import SOCKET, Briefing, Channel, Desk
from gnomon.systems.flower.launch import Launch

RESTARTS = 3
"""So often a ServerApp that died is started again without a round in between."""


def listening(folder: Path) -> socket.socket:
    """A socket for one ServerApp."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(folder / SOCKET))
    listener.listen(1)
    return listener


@contextmanager
def private_folder() -> Iterator[Path]:
    """For the socket and the learner, gone afterwards; what killed processes of this user left goes as well.

    Not the run folder: its path may be longer than the 107 bytes that a socket's may have.
    """
    for left in Path(tempfile.gettempdir()).glob("gnomon-flower-*"):
        owner = left.name.split("-")[2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"gnomon-flower-{os.getpid()}-") as folder:
        yield Path(folder)


def attend(
    server: Server,
    briefing: Briefing,
    launch: Launch,
    listener: socket.socket,
    observer: RoundObserver | None = None,
) -> None:
    """Run the app, and answer it until the federation is over; a ServerApp that dies is started again.

    Raises:
        SystemFault: A part of Flower ended that the federation cannot do without.
    """
    deaths = 0
    while deaths <= RESTARTS:
        rounds = len(server.ledger.rounds)
        desk = Desk(server, briefing)
        launch.run()
        channel = _called(launch, listener)
        try:
            while not desk.finished:
                ready = _readable(channel, launch)
                if launch in ready:
                    launch.watch()
                if channel in ready and desk.answer(channel) and observer:
                    observer(server)
            return
        except (EOFError, ConnectionError):
            deaths = 0 if len(server.ledger.rounds) > rounds else deaths + 1
        finally:
            channel.close()
    raise SystemFault(
        f"Flower's ServerApp died {deaths} times in round {len(server.ledger.rounds)}: "
        f"{launch.tail('superlink')}"
    )


def _called(launch: Launch, listener: socket.socket) -> Channel:
    """The ServerApp's call."""
    while True:
        ready = _readable(listener, launch)
        if launch in ready:
            launch.watch()
        if listener in ready:
            return Channel(listener.accept()[0])


def _readable(*sources: socket.socket | Channel | Launch) -> list[socket.socket | Channel | Launch]:
    """Those that have something to tell, within a second."""
    return select.select(sources, [], [], 1.0)[0]

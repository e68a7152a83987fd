from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from gnomon.core.errors import SettingsError, SystemFault
from gnomon.fleet.behaviour import Behaviour
from gnomon.fleet.control import Fixed
from gnomon.fleet.simulated import carry_out, simulate
from gnomon.systems.flower.drive import listening
from gnomon.systems.flower.handover import (
    Briefing,
    Channel,
    Desk,
    RemoteServer,
    depart,
    departures,
)
from gnomon.systems.flower.work import Work
from tests.systems.flower.federations import federation


@pytest.fixture
def folder():
    """Short enough a path for a socket."""
    with tempfile.TemporaryDirectory(prefix="gn") as name:
        yield Path(name)


def briefing(server, folder) -> Briefing:
    return Briefing(server.samples, Work("a:b", "{}"), 0.1, 5.0, folder)


def served(server, folder, client):
    """Serve `client(address)`, which runs in another thread; the desk and what was raised here."""
    desk, raised = Desk(server, briefing(server, folder)), []
    with listening(folder) as listener:
        thread = threading.Thread(target=client, args=(str(folder / "server"),))
        thread.start()
        channel = Channel(listener.accept()[0])
        try:
            while not desk.finished:
                desk.answer(channel)
        except Exception as error:
            raised.append(error)
        channel.close()
        thread.join()
    return desk, raised


def test_a_server_driven_through_a_socket_is_the_server_driven_in_place(folder):
    server, twin = federation(rounds=4), federation(rounds=4)

    def client(address):
        with RemoteServer(address) as remote:
            while (order := remote.next_order()) is not None:
                assert remote.local_training(order).round_number == order.round_number
                remote.receive(order, carry_out(twin, order, Behaviour()))

    desk, raised = served(server, folder, client)
    simulate(twin)
    assert desk.finished
    assert not raised
    assert np.array_equal(server.parameters, twin.parameters)
    assert server.ledger.rounds.tolist() == twin.ledger.rounds.tolist()


def test_what_the_server_refuses_is_raised_where_it_lives(folder):
    server = federation()
    server.controller = Fixed(99, 1)
    seen = []

    def client(address):
        try:
            with RemoteServer(address) as remote:
                remote.next_order()
        except SystemFault as error:
            seen.append(str(error))

    _, raised = served(server, folder, client)
    assert isinstance(raised[0], SettingsError)
    assert "K=99" in seen[0]


def test_a_fault_of_the_app_is_raised_where_the_server_lives(folder):
    def client(address):
        with pytest.raises(SystemFault), RemoteServer(address):
            raise SystemFault("clients 2 did not connect")

    _, raised = served(federation(), folder, client)
    assert str(raised[0]) == "clients 2 did not connect"


def test_an_app_that_dies_is_told_from_one_that_is_done(folder):
    def client(address):
        remote = RemoteServer(address)
        remote.next_order()
        remote.close()

    desk, raised = served(federation(), folder, client)
    assert not desk.finished
    assert isinstance(raised[0], EOFError | ConnectionError)


def test_an_app_that_crashes_is_not_done(folder):
    def client(address):
        with pytest.raises(ZeroDivisionError), RemoteServer(address):
            raise ZeroDivisionError

    desk, raised = served(federation(), folder, client)
    assert not desk.finished
    assert isinstance(raised[0], EOFError | ConnectionError)


def test_an_app_whose_server_is_gone_says_so(folder):
    with pytest.raises(SystemFault, match="which must not have ended"):
        RemoteServer(str(folder / "server"))


def test_an_order_that_was_out_when_the_app_died_is_given_again_the_same(folder):
    server, orders = federation(clients_per_round=2), []

    def client(address):
        remote = RemoteServer(address)
        orders.append(remote.next_order())
        remote.close()

    for _ in range(2):
        served(server, folder, client)
        (folder / "server").unlink()
    first, second = orders
    assert first.round_number == second.round_number == 0
    assert first.clients.tolist() == second.clients.tolist()


def test_word_of_departures_is_whole_or_not_there(tmp_path):
    assert departures(tmp_path) == {}
    (tmp_path / ".7").write_text("half a wo")
    depart(tmp_path, 3, "its process was killed by signal 9")
    assert departures(tmp_path) == {3: "its process was killed by signal 9"}

"""The strategy against a grid whose clients behave as the test says."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, MetricRecord, RecordDict

from gnomon.core.errors import SystemFault
from gnomon.fleet.simulated import simulate
from gnomon.systems.flower.strategy import GnomonStrategy
from gnomon.systems.flower.work import Work, stored
from tests.systems.flower.fake_grid import WATTS_COMPUTE, WATTS_RADIO, FakeGrid, honest, introduced
from tests.systems.flower.federations import federation

DEADLINE_S = 0.3


@pytest.fixture
def work(tmp_path) -> Work:
    return stored(federation().learner, tmp_path)


def run(server, grid, work, gone=dict, **options):
    """Drive a federation over a fake grid to its end."""
    strategy = GnomonStrategy(
        server, work, look_every_s=0.01, gone=gone, **{"node_timeout_s": 5.0, **options}
    )
    strategy.start(grid)
    assert server.ledger.disagreements() == []
    return server


def row(server, round_number, client):
    """One client's line in the ledger."""
    rows = server.ledger.clients
    (found,) = rows[(rows["round"] == round_number) & (rows["client"] == client)]
    return found


def altered(change, message, client):
    """An honest report, changed."""
    after_s, content = honest(message, client)
    return after_s, change(content)


def with_update(values, content: RecordDict) -> RecordDict:
    record = ArrayRecord({"parameters": Array(values(content["arrays"]["parameters"].numpy()))})
    return RecordDict({"arrays": record, "metrics": content["metrics"]})


def with_metrics(content: RecordDict, **values) -> RecordDict:
    metrics = MetricRecord({**content["metrics"], **values})
    return RecordDict({"arrays": content["arrays"], "metrics": metrics})


def test_a_federation_over_messages_gives_the_same_bits_as_the_simulated_one(work):
    server, simulated = (
        federation(clients_per_round=2, rounds=4),
        federation(clients_per_round=2, rounds=4),
    )
    run(server, FakeGrid(4), work)
    simulate(simulated)
    assert np.array_equal(server.parameters, simulated.parameters)
    assert server.ended is not None
    assert server.ended.reason == "rounds"


def test_training_stops_in_the_round_that_reaches_the_target(work):
    full = run(federation(rounds=6), FakeGrid(4), work)
    target = float(full.ledger.rounds["loss"][2])
    server = run(federation(rounds=6, target_loss=target), FakeGrid(4), work)
    assert len(server.ledger.rounds) == 3
    assert server.ended.reason == "target"


def test_a_round_lasts_as_long_as_its_slowest_report(work):
    grid = FakeGrid(4, {(1, 2): partial(honest, after_s=1.0)})
    server = run(federation(rounds=3), grid, work)
    for number in range(3):
        durations = server.ledger.clients["duration_s"][server.ledger.clients["round"] == number]
        assert server.ledger.rounds["duration_s"][number] == durations.max()
    assert 1.0 <= row(server, 1, 2)["duration_s"] < 3
    assert row(server, 1, 1)["duration_s"] < row(server, 1, 2)["duration_s"]


def test_energy_is_the_clients_own_and_the_radio_for_the_rest_of_the_round_trip(work):
    grid = FakeGrid(4, {(0, 1): partial(honest, after_s=0.2)})
    server = run(federation(rounds=1), grid, work)
    line = row(server, 0, 1)
    rest_s = line["duration_s"] - line["compute_s"]
    assert line["compute_j"] == pytest.approx(WATTS_COMPUTE * line["compute_s"])
    assert line["energy_j"] == pytest.approx(line["compute_j"] + WATTS_RADIO * rest_s)


def test_a_late_client_is_recorded_and_the_round_lasts_until_the_deadline(work):
    grid = FakeGrid(4, {(0, 3): partial(honest, after_s=5.0)})
    server = run(federation(rounds=1, deadline_s=DEADLINE_S), grid, work)
    line = row(server, 0, 3)
    assert line["outcome"] == "late"
    assert line["duration_s"] == server.ledger.rounds["duration_s"][0] == DEADLINE_S
    assert line["energy_j"] == pytest.approx(WATTS_COMPUTE * DEADLINE_S)
    assert server.ledger.rounds["used"][0] == 3


def test_a_late_client_is_asked_again_when_its_old_answer_is_in(work):
    grid = FakeGrid(
        2,
        {
            (0, 1): partial(honest, after_s=2.5 * DEADLINE_S),
            **{(number, 0): partial(honest, after_s=0.8 * DEADLINE_S) for number in range(1, 6)},
        },
    )
    server = run(
        federation(clients=2, clients_per_round=2, rounds=6, deadline_s=DEADLINE_S), grid, work
    )
    asked = [number for number, client in grid.trained if client == 1]
    assert asked[0] == 0
    assert asked[1] > 1  # in round 1 it was still at work
    assert row(server, asked[1], 1)["outcome"] == "used"


def test_a_client_whose_process_ended_is_not_waited_for_nor_asked_again(work):
    gone: dict[int, str] = {}

    def die(message, client):
        gone[client] = "its process was killed by signal 9"
        return 0.0, None

    server = run(federation(rounds=3), FakeGrid(4, {(1, 2): die}), work, gone=lambda: gone)
    assert row(server, 1, 2)["outcome"] == "dropped"
    assert "killed by signal 9" in server.ledger.notes[1, 2]
    assert server.ledger.rounds["asked"].tolist() == [4, 4, 3]
    assert server.ledger.rounds["duration_s"][1] < 1


def test_a_client_that_is_no_longer_connected_is_dropped(work):
    grid = FakeGrid(3)

    def vanish(message, client):
        del grid.nodes[message.metadata.dst_node_id]
        return 0.0, None

    grid.behaviours[0, 1] = vanish
    server = run(federation(clients=3, clients_per_round=3, rounds=2), grid, work)
    assert row(server, 0, 1)["outcome"] == "dropped"
    assert "no longer connected" in server.ledger.notes[0, 1]
    assert server.ledger.rounds["asked"].tolist() == [3, 2]


def test_a_client_no_message_can_be_sent_to_is_dropped(work):
    grid = FakeGrid(4)
    grid.unreachable = {2}
    server = run(federation(rounds=1), grid, work)
    assert row(server, 0, 2)["outcome"] == "dropped"
    assert "could not be reached" in server.ledger.notes[0, 2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (partial(with_update, lambda update: np.full_like(update, np.nan)), "not finite"),
        (partial(with_update, lambda update: update[:-1]), "shape"),
        (partial(with_update, lambda update: update.reshape(1, -1)), "shape"),
        (partial(with_update, lambda update: update.astype(np.float64)), "float64"),
        (lambda content: RecordDict({"metrics": content["metrics"]}), "no update"),
        (lambda content: RecordDict({"arrays": content["arrays"]}), "no account"),
        (lambda content: RecordDict(), "no account"),
        (partial(with_metrics, client=3), "calls itself client 3"),
        (partial(with_metrics, compute_s=-1.0), "-1.0 s"),
        (partial(with_metrics, compute_j=float("nan")), "nan J"),
        (partial(with_metrics, loss=[1.0, 2.0]), "broken account"),
    ],
)
def test_a_report_that_cannot_be_used_is_rejected_with_the_reason(work, change, says):
    server = run(federation(rounds=2), FakeGrid(4, {(0, 1): partial(altered, change)}), work)
    assert row(server, 0, 1)["outcome"] == "rejected"
    assert says in server.ledger.notes[0, 1]
    assert row(server, 1, 1)["outcome"] == "used"


def test_a_client_app_that_raises_is_dropped_with_what_it_raised(work):
    grid = FakeGrid(4, {(0, 1): lambda message, client: (0.0, Error(2, "MemoryError: 64 GB"))})
    server = run(federation(rounds=1), grid, work)
    assert row(server, 0, 1)["outcome"] == "dropped"
    assert "MemoryError: 64 GB" in server.ledger.notes[0, 1]


def test_with_over_selection_a_round_is_over_with_the_last_wanted_report(work):
    slow = {(0, client): partial(honest, after_s=3.0) for client in (0, 2)}
    server = run(
        federation(clients_per_round=2, rounds=1, over_selection=2.0), FakeGrid(4, slow), work
    )
    outcomes = {client: row(server, 0, client)["outcome"] for client in range(4)}
    assert outcomes == {0: "spare", 1: "used", 2: "spare", 3: "used"}
    assert server.ledger.rounds["duration_s"][0] < 1


def test_garbage_does_not_complete_an_over_selected_round(work):
    nothing = partial(altered, lambda content: RecordDict())
    grid = FakeGrid(4, {(0, 0): nothing, (0, 1): nothing, (0, 3): partial(honest, after_s=0.2)})
    server = run(federation(clients_per_round=2, rounds=1, over_selection=2.0), grid, work)
    assert server.ledger.rounds["used"][0] == 2


def test_a_federation_whose_clients_are_all_gone_ends_with_an_error(work):
    gone: dict[int, str] = {}

    def die(message, client):
        gone[client] = "its process ended"
        return 0.0, None

    grid = FakeGrid(2, {(1, 0): die, (1, 1): die})
    server = federation(clients=2, clients_per_round=2, rounds=5)
    with pytest.raises(SystemFault, match="none of the 2 clients is left"):
        run(server, grid, work, gone=lambda: gone)
    assert len(server.ledger.rounds) == 2


def test_clients_that_do_not_connect_are_named(work):
    with pytest.raises(SystemFault, match=r"clients 2, 3 did not connect within 0\.2 s"):
        run(federation(clients=4), FakeGrid(2), work, node_timeout_s=0.2)


@pytest.mark.parametrize("number", [-1, 4])
def test_a_node_with_a_number_that_is_nobodys_is_refused(work, number):
    grid = FakeGrid(4)
    grid.introductions[2] = introduced(number)
    with pytest.raises(SystemFault, match=f"client {number}, of 4"):
        run(federation(), grid, work)


def test_two_nodes_with_the_same_number_are_refused(work):
    grid = FakeGrid(4)
    grid.introductions[2] = introduced(1)
    with pytest.raises(SystemFault, match="calls itself client 1, as another does"):
        run(federation(), grid, work)


def test_a_node_that_comes_back_is_asked_again(work):
    grid = FakeGrid(3)

    def reconnect(message, client):
        del grid.nodes[message.metadata.dst_node_id]
        grid.nodes[777] = client
        return 0.0, None

    grid.behaviours[0, 1] = reconnect
    server = run(federation(clients=3, clients_per_round=3, rounds=2), grid, work)
    assert row(server, 0, 1)["outcome"] == "dropped"
    assert row(server, 1, 1)["outcome"] == "used"


def test_clients_claims_about_their_samples_carry_no_weight(work):
    """The wire has no place for them; extra metrics change nothing."""
    boast = partial(altered, partial(with_metrics, samples=10**9))
    server, plain = federation(rounds=1), federation(rounds=1)
    run(server, FakeGrid(4, {(0, 0): boast}), work)
    run(plain, FakeGrid(4), work)
    assert np.array_equal(server.parameters, plain.parameters)


def test_a_node_that_is_no_gnomon_client_is_refused_before_the_first_round(work):
    grid = FakeGrid(4)
    grid.behaviours[-1, 2] = lambda message, client: (0.0, RecordDict())
    with pytest.raises(SystemFault, match="not Gnomon's client app: it sent no introduction"):
        run(federation(), grid, work)


def test_a_stranger_that_turns_up_later_is_left_alone(work):
    grid = FakeGrid(4)

    def bring_a_stranger(message, client):
        grid.nodes[999] = 77
        grid.behaviours[-1, 77] = lambda message, client: (0.0, RecordDict())
        return honest(message, client)

    grid.behaviours[0, 1] = bring_a_stranger
    server = run(federation(rounds=3), grid, work)
    assert server.ledger.rounds["used"].tolist() == [4, 4, 4]

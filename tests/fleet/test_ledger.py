"""The ledger adds up, and says where it was made not to."""

import numpy as np
import pytest

from gnomon.fleet.ledger import Ledger
from gnomon.fleet.orders import Outcome, Report


def report(client, outcome=Outcome.USED, duration_s=1.0, energy_j=0.5, note=""):
    return Report(client, outcome, None, 10, 0.1, duration_s, 0.5, energy_j, 0.25, note)


def ledger_of(rounds=3):
    """Rounds of two clients used and one late, lasting 1 s, 2 s, 3 s ..."""
    ledger = Ledger()
    for number in range(rounds):
        ledger.add(
            [
                report(number, duration_s=number + 1.0),
                report(number + 1, duration_s=0.5),
                report(number + 2, Outcome.LATE, note="came late"),
            ],
            [1, 1, 1],
            round=number,
            phase="train",
            start="here",
            step=number,
            clients_per_round=2,
            local_iterations=5,
            learning_rate=0.1,
            duration_s=number + 1.0,
            loss=1.0,
            average_loss=1.0,
            quality=0.5,
            update_norm=1.0,
        )
    return ledger


def test_totals_are_those_of_all_rounds_and_all_clients():
    ledger = ledger_of()
    assert ledger.duration_s == 6.0
    assert ledger.energy_j == 4.5
    assert ledger.cost(0.25) == pytest.approx(0.75 * 6.0 + 0.25 * 4.5)
    assert (Ledger().duration_s, Ledger().energy_j) == (0.0, 0.0)


def test_rows_stay_in_order_however_many_there_are():
    ledger = ledger_of(200)
    assert ledger.rounds["round"].tolist() == list(range(200))
    assert ledger.clients["client"].tolist() == [n + k for n in range(200) for k in range(3)]
    assert ledger.disagreements() == []


def test_rows_seen_before_do_not_change_when_more_are_added():
    ledger = ledger_of(60)
    seen = ledger.rounds
    copy = seen.copy()
    for _ in range(2):
        more = ledger_of(70)
        ledger._rounds.append(more.rounds)
    np.testing.assert_array_equal(seen, copy)


def test_a_ledger_of_saved_rows_is_the_same_ledger():
    ledger = ledger_of()
    again = Ledger.of(ledger.rounds, ledger.clients, ledger.notes)
    assert again.rounds.tobytes() == ledger.rounds.tobytes()
    assert again.clients.tobytes() == ledger.clients.tobytes()
    assert again.notes == {(number, number + 2): "came late" for number in range(3)}


@pytest.mark.parametrize(
    ("table", "place", "column", "value", "words"),
    [
        ("rounds", 1, "round", 5, "rounds are not numbered"),
        ("rounds", 1, "started_s", 1.1, "round 1 does not start where the last one ended"),
        ("rounds", 0, "duration_s", 1.5, "round 1 does not start where the last one ended"),
        ("rounds", 2, "energy_j", 1.4, "round 2 has other energy than its clients"),
        ("rounds", 2, "used", 3, "round 2 counts other reports"),
        ("rounds", 2, "asked", 2, "round 2 counts other clients"),
        ("clients", 3, "energy_j", 0.6, "round 1 has other energy than its clients"),
        ("clients", 3, "duration_s", 2.5, "round 1 is shorter than its slowest client"),
        ("clients", 3, "outcome", "late", "round 1 counts other reports"),
        ("clients", 8, "round", 3, "clients are listed for rounds that are not in the ledger"),
    ],
)
def test_a_number_that_was_changed_is_found(table, place, column, value, words):
    ledger = ledger_of()
    rows = {"rounds": ledger.rounds.copy(), "clients": ledger.clients.copy()}
    rows[table][column][place] = value
    found = Ledger.of(rows["rounds"], rows["clients"], {}).disagreements()
    assert any(words in line for line in found), found


def test_an_empty_ledger_adds_up():
    assert Ledger().disagreements() == []

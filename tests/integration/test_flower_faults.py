"""One real federation in which nearly everything goes wrong, and what its ledger says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.systems.flower.federations import federation

pytest.importorskip("flwr")

from gnomon.systems.flower.fleet import FlowerFleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]
APPS = Path(__file__).parents[1] / "systems" / "flower"
CLIENTS, ROUNDS, DEADLINE_S = 6, 6, 12.0
LONGEST = 1.0
"""The norm an update may have here: honest ones are shorter, the poisoned one is over a hundred times it."""
MISBEHAVIOUR = {
    0: {1: "nan", 5: "poison"},
    1: {1: "shape"},
    2: {1: "crash"},
    3: {1: "empty"},
    4: {2: "late"},
    5: {4: "die"},
}


@pytest.fixture(scope="module")
def models():
    """The model at the start and after every round; filled by `driven`."""
    return []


@pytest.fixture(scope="module")
def driven(tmp_path_factory, models):
    """A server whose federation went through all of it."""
    folder = tmp_path_factory.mktemp("faults")
    settings = {"clients": CLIENTS, "clients_per_round": CLIENTS, "deadline_s": DEADLINE_S}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNOMON_TEST_MISBEHAVIOUR", json.dumps(MISBEHAVIOUR))
        patch.setenv("PYTHONPATH", str(APPS))
        server = federation(rounds=ROUNDS, max_update_norm=LONGEST, **settings)
        models.append(server.parameters)
        FlowerFleet(folder=folder, client_app="misbehaving:app").drive(
            server, lambda so_far: models.append(so_far.parameters)
        )
    return server


def outcome(server, number, client) -> str:
    rows = server.ledger.clients
    return str(rows["outcome"][(rows["round"] == number) & (rows["client"] == client)][0])


def test_all_rounds_are_run_and_the_ledger_adds_up(driven):
    assert driven.ledger.rounds["round"].tolist() == list(range(ROUNDS))
    assert driven.ledger.disagreements() == []
    assert np.isfinite(driven.parameters).all()


def test_whoever_behaves_is_used(driven):
    assert [outcome(driven, 0, client) for client in range(CLIENTS)] == ["used"] * CLIENTS
    assert [outcome(driven, 1, client) for client in (4, 5)] == ["used"] * 2


@pytest.mark.parametrize(
    ("client", "what", "says"),
    [
        (0, "rejected", "not finite"),
        (1, "rejected", "shape"),
        (2, "dropped", "no room for the model"),
        (3, "rejected", "sent no"),
    ],
)
def test_garbage_is_recorded_with_the_reason_and_not_used(driven, client, what, says):
    assert outcome(driven, 1, client) == what
    assert says in driven.ledger.notes[1, client]


def test_a_late_client_is_late_and_the_round_ends_at_the_deadline(driven):
    assert outcome(driven, 2, 4) == "late"
    assert driven.ledger.rounds["duration_s"][2] == DEADLINE_S


def test_a_poisoned_update_is_used_no_longer_than_the_bound(driven, models):
    assert outcome(driven, 5, 0) == "used"
    assert "clipped" in driven.ledger.notes[5, 0]
    assert len(models) == ROUNDS + 1
    # However many others were back in time to share the round with it.
    assert 0 < np.linalg.norm(models[6] - models[5]) <= LONGEST


def test_a_client_that_is_killed_in_a_round_is_dropped_at_once_and_not_asked_again(driven):
    assert outcome(driven, 4, 5) == "dropped"
    assert "killed by signal 9" in driven.ledger.notes[4, 5]
    assert driven.ledger.rounds["duration_s"][4] < DEADLINE_S
    rows = driven.ledger.clients
    assert 5 not in rows["client"][rows["round"] == 5]

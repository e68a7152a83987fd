"""The simulated fleet as a registered system."""

import json

from gnomon.core.registry import SYSTEMS
from gnomon.core.task import make_task
from gnomon.fleet.assembly import assemble
from gnomon.fleet.options import FleetOptions
from gnomon.fleet.simulated import simulate
from gnomon.systems.simulated_fleet import SimulatedFleet
from tests.fleet.small_run import FEW

FAULTS = {"dropout": 0.3, "slowdown_sigma": 0.5, "availability": 0.7}


def test_it_is_registered_and_says_that_its_clock_is_virtual():
    assert SYSTEMS.load("simulated") is SimulatedFleet
    fleet = SimulatedFleet()
    assert fleet.virtual_clock
    assert json.loads(json.dumps(fleet.describe()))["clock"] == "virtual"
    fleet.close()


def test_it_simulates_the_federation_with_its_faults_and_calls_after_every_round(tmp_path):
    federation = assemble(FEW, make_task("federated-digits"), FleetOptions(max_rounds=9, **FAULTS))
    seen = []
    fleet, driven = SimulatedFleet(), federation.server("fixed:4,2")
    fleet.load(federation, tmp_path)
    fleet.drive(driven, lambda server: seen.append(len(server.ledger.rounds)))
    plain = federation.server("fixed:4,2")
    simulate(plain, federation.behaviour)
    assert driven.ended is not None
    assert driven.ledger.clients.tobytes() == plain.ledger.clients.tobytes()
    assert "dropped" in driven.ledger.clients["outcome"]
    assert seen == list(range(1, len(driven.ledger.rounds) + 1))

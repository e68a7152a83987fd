from __future__ import annotations

import pytest

from gnomon.core.errors import SettingsError
from gnomon.systems.flower.fleet import FlowerFleet
from gnomon.systems.flower.simulation import FlowerSimulation


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"port": 70000}, "port must be from 0 to 65535"),
        ({"poll_s": 0}, "poll_s must be from 0.01 to 60"),
        ({"poll_s": "often"}, "poll_s must be from"),
        ({"node_timeout_s": -1}, "node_timeout_s must be from"),
        ({"energy": "guess"}, "energy must be one of auto, rapl, model"),
        ({"watts_compute": -1}, "watts_compute must be zero or more"),
        ({"shaped": "yes"}, "shaped must be true or false"),
        ({"shaped": True, "bandwidth_mbit_s": "fast"}, "numbers separated by commas"),
        ({"shaped": True, "bandwidth_mbit_s": ""}, "bandwidth_mbit_s is empty"),
        ({"shaped": True, "bandwidth_mbit_s": "1,0"}, "bandwidth must be from 0.01"),
        ({"shaped": True, "cpu_share": "-1"}, "CPU share must be from 0.01"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(option, says):
    with pytest.raises(SettingsError, match=says):
        FlowerFleet(**option)


def test_bandwidths_and_shares_go_round_together():
    fleet = FlowerFleet(shaped=True, bandwidth_mbit_s="1,2,3", cpu_share="0.5,1")
    given = [(shape.bandwidth_mbit_s, shape.cpu_share) for shape in fleet.shapes]
    assert given == [(1, 0.5), (2, 1), (3, 0.5), (1, 1), (2, 0.5), (3, 1)]


def test_one_bandwidth_and_no_shares_is_one_shape():
    (shape,) = FlowerFleet(shaped=True, bandwidth_mbit_s=4, cpu_share="").shapes
    assert (shape.bandwidth_mbit_s, shape.cpu_share) == (4.0, None)


def test_the_record_says_how_energy_was_measured_and_what_clients_were_given():
    plain = FlowerFleet().describe()
    assert plain["energy"] == "model"
    assert plain["watts_compute"] > 0
    assert "bandwidth_mbit_s" not in plain
    shaped = FlowerFleet(shaped=True, bandwidth_mbit_s=4, cpu_share=0.5).describe()
    assert shaped["bandwidth_mbit_s"] == [4.0]
    assert shaped["cpu_share"] == [0.5]


@pytest.mark.parametrize("cpus", [0, -1, 10**6, "all"])
def test_a_simulation_that_no_client_fits_into_is_refused(cpus):
    pytest.importorskip("ray")
    with pytest.raises(SettingsError, match="cpus_per_client must be above 0"):
        FlowerSimulation(cpus_per_client=cpus)

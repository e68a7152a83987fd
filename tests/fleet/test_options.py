"""Options over declarations, and the federation that comes of them: the same everywhere it is made."""

import json

import numpy as np
import pytest

from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.core.execute import parse_options
from gnomon.core.task import make_task
from gnomon.fleet.assembly import Blueprint, Federation, assemble, blueprint_of, learner_of
from gnomon.fleet.device_files import simulated_devices, write_devices
from gnomon.fleet.options import FleetOptions, declaration_of, layered
from gnomon.fleet.settings import FederatedSettings
from tests.fleet.small_run import FEW

TASK = make_task("federated-digits")


def made(**options):
    return assemble(FEW, TASK, FleetOptions(**options))


def test_what_is_left_out_comes_from_the_benchmark():
    federation = made()
    assert federation.blueprint.clients == 10
    assert federation.blueprint.partition == "labels:2"
    assert federation.settings.learning_rate == 0.3
    assert federation.settings.target_loss == 0.9
    assert federation.settings.gamma == FederatedSettings().gamma
    assert federation.data.clients == len(federation.devices) == len(federation.samples) == 10


def test_what_is_given_goes_over_what_is_declared():
    changes = {
        "gamma": 0.25,
        "clients": 7,
        "partition": "iid",
        "target_loss": 0.5,
        "batch_size": 5,
        "max_energy_j": 3.0,
        "sampling": "weighted",
    }
    federation = made(**changes, dropout=0.5)
    assert federation.blueprint.clients == 7
    assert federation.blueprint.partition == "iid"
    for name in ("gamma", "target_loss", "batch_size", "max_energy_j", "sampling"):
        assert getattr(federation.settings, name) == changes[name]
    assert federation.behaviour.dropout == 0.5


def test_every_setting_of_a_federation_can_be_asked_for_and_declared():
    for name in FederatedSettings.model_fields:
        assert name in FleetOptions.model_fields, name
        assert name in type(declaration_of(FEW)).model_fields, name


def test_the_controller_and_the_seed_are_no_part_of_the_problem():
    """The fleet and its data stay the same while seeds and controllers are tried."""
    one, other = made(seed=1, controller="fixed:1,1"), made(seed=2)
    np.testing.assert_array_equal(one.data.features, other.data.features)
    np.testing.assert_array_equal(one.devices.compute_s, other.devices.compute_s)
    assert not np.array_equal(one.devices.compute_s, made(data_seed=1).devices.compute_s)


def test_a_blueprint_makes_the_same_federation_from_json():
    federation = made(seed=4)
    text = json.dumps(federation.blueprint.to_json())
    again = Federation.of(Blueprint.from_json(json.loads(text)))
    assert again.blueprint == federation.blueprint
    np.testing.assert_array_equal(again.data.features, federation.data.features)
    np.testing.assert_array_equal(again.data.offsets, federation.data.offsets)
    for name in ("compute_s", "communication_s", "compute_j", "communication_j"):
        np.testing.assert_array_equal(
            getattr(again.devices, name), getattr(federation.devices, name)
        )
    learner = learner_of(**json.loads(text))
    parameters = learner.initial(0) + np.float32(0.1)
    assert learner.loss(parameters) == federation.learner.loss(parameters)


def test_a_blueprint_for_other_data_is_refused():
    values = made().blueprint.to_json() | {"fingerprint": "0" * 64}
    with pytest.raises(DataError, match="is other data"):
        Federation.of(Blueprint.from_json(values))


@pytest.mark.parametrize("values", [{}, {"task": 3}, [1], "text"])
def test_what_is_no_blueprint_is_refused_in_one_line(values):
    with pytest.raises(DataError, match="no blueprint of a federation"):
        Blueprint.from_json(values)


def test_a_file_of_devices_says_how_many_clients_there_are(tmp_path):
    path = tmp_path / "devices.csv"
    write_devices(simulated_devices("equal", 6, 0), path)
    federation = made(devices=str(path))
    assert federation.blueprint.clients == len(federation.devices) == 6
    with pytest.raises(SettingsError, match=r"6 devices .* for 8 clients: use --clients 6"):
        assert made(devices=str(path), clients=8).devices


def test_fedscales_profile_takes_its_communication_from_the_size_of_the_model(tmp_path):
    path = tmp_path / "profile.json"
    path.write_text(
        json.dumps({str(k): {"computation": 10, "communication": 1000} for k in range(4)})
    )
    devices = made(devices=str(path)).devices
    parameters = 10 * 65
    np.testing.assert_allclose(devices.communication_s, 2 * 4 * parameters * 8 / 1e6)
    np.testing.assert_allclose(devices.compute_s, 3 * 24 * 10 / 1000)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"devices": "papr"}, SettingsError, "neither a file nor one of paper"),
        ({"partition": "labls:2"}, UnknownNameError, "did you mean 'labels'"),
        ({"noise_multiplier": 1.0}, SettingsError, "set clip_norm as well"),
        ({"decay": "slowly"}, SettingsError, "decay is constant"),
        ({"dropout": 2.0}, SettingsError, "dropout must be from 0 to 1"),
        ({"clients": 5000}, SettingsError, "--clients 1000 or fewer"),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(options, error, words):
    with pytest.raises(error, match=words):
        assert made(**options).data


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gama": 0.5}, "did you mean 'gamma'"),
        ({"gamma": 2}, "gamma: input should be less than or equal to 1, got 2"),
        ({"model": "transformer"}, "model"),
        ({"rules": "quik"}, "did you mean 'quick'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, words):
    with pytest.raises(
        SettingsError if "gamma" in options or "model" in options else UnknownNameError, match=words
    ):
        parse_options(FleetOptions, options)


def test_a_task_that_cannot_be_dealt_out_is_refused():
    with pytest.raises(SettingsError, match="cannot be dealt out to clients"):
        blueprint_of(FEW, make_task("digits"), FleetOptions())


def test_a_benchmark_that_declares_nonsense_is_named():
    wrong = FEW.model_copy(update={"settings": {"clients": 0}})
    with pytest.raises(SettingsError, match="'few-digits' declares its settings wrongly: clients"):
        layered(wrong, FleetOptions())

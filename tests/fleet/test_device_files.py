"""Fleets from distributions, tables and FedScale's profile; what is wrong in a file is told by line."""

import json
import os
import pickle

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.fleet.device_files import (
    DISTRIBUTIONS,
    fedscale_devices,
    normal_devices,
    read_devices,
    read_shares,
    simulated_devices,
    write_devices,
)
from gnomon.fleet.devices import COSTS, Devices

HEADER = "compute_s,communication_s,compute_j,communication_j"


@pytest.fixture
def file(tmp_path):
    """A file with this text: `file("name,...")`."""

    def write(text, name="fleet.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


# Simulated.


@pytest.mark.parametrize("distribution", sorted(DISTRIBUTIONS))
def test_means_and_spread_of_a_distribution_are_those_asked_for(distribution):
    devices = simulated_devices(distribution, 200_000, 3, 0.25, 1.0, 20.0, 0.3, 4.0)
    spread = 0 if distribution == "equal" else 0.25
    for name, mean in zip(COSTS, (1.0, 20.0, 0.3, 4.0), strict=True):
        values = getattr(devices, name)
        assert values.mean() == pytest.approx(mean, rel=0.01)
        assert values.std() / mean == pytest.approx(spread, rel=0.02)


def test_the_papers_fleet_has_its_means_and_no_device_that_works_in_no_time():
    devices = normal_devices(50_000, seed=0)
    for name, mean in zip(COSTS, (0.1, 2.0, 1e-3, 2e-2), strict=True):
        values = getattr(devices, name)
        assert values.mean() == pytest.approx(mean, rel=0.01)
        assert values.std() == pytest.approx(mean / 3, rel=0.02)
        assert values.min() == pytest.approx(mean / 20)
    assert "simulated: normal" in devices.source


def test_a_seed_gives_one_fleet_and_costs_that_are_independent():
    one, same, other = (normal_devices(1000, seed) for seed in (1, 1, 2))
    for name in COSTS:
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
        assert not np.array_equal(getattr(one, name), getattr(other, name))
    correlations = np.corrcoef([getattr(one, name) for name in COSTS])
    assert np.abs(correlations - np.eye(4)).max() < 0.15


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("norml", 5, 0), UnknownNameError, "did you mean 'normal'"),
        (("normal", 0, 0), SettingsError, "at least one client, got 0"),
        (("normal", 5, 0, -1), SettingsError, "spread must be zero or more"),
        (("uniform", 5, 0, 0.9), SettingsError, "at most 0.577"),
        (("normal", 5, 0, 0.1, -2.0), SettingsError, "mean compute_s must be zero or more"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_a_simulated_fleet_out_of_range_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        simulated_devices(*arguments)


# Tables.

costs = st.lists(st.floats(0, 1e300), min_size=4, max_size=4)
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda name: not name.startswith("#")
)


@hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(costs, min_size=1, max_size=5), st.lists(names, min_size=5, unique=True), st.booleans()
)
def test_what_is_written_is_read_to_the_last_digit(tmp_path, rows, labels, named):
    columns = np.array(rows).T
    devices = Devices(*columns, names=tuple(labels[: len(rows)]) if named else ())
    write_devices(devices, tmp_path / "fleet.csv")
    again = read_devices(tmp_path / "fleet.csv")
    for name in COSTS:
        np.testing.assert_array_equal(getattr(again, name), getattr(devices, name))
    assert again.names == devices.names
    assert again.source == "file fleet.csv"


def test_columns_come_in_any_order_with_remarks_others_and_spaces_between(file):
    devices = read_devices(
        file(
            "\ufeff# measured in May\r\ncommunication_j, owner ,name,compute_j,communication_s,compute_s\r\n"
            "\r\n4,me,one,3, 2,1\r\n# the old one\r\n8,you,two,7,6,5e0\r\n"
        )
    )
    assert devices.names == ("one", "two")
    assert devices.compute_s.tolist() == [1, 5]
    assert devices.communication_s.tolist() == [2, 6]
    assert devices.compute_j.tolist() == [3, 7]
    assert devices.communication_j.tolist() == [4, 8]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "fleet.csv is empty: its first line must name the columns"),
        ("# only a remark\n", "is empty"),
        (HEADER + "\n", "holds no device"),
        ("compute_s,communication_s\n1,2\n", "has no column compute_j, communication_j"),
        ("1,2,3,4\n", "has no column compute_s"),
        (HEADER + "\n1,2,3,4\n1,x,3,4\n", "line 3, communication_s: 'x' is not a number"),
        (HEADER + "\n1,2,3,\n", "line 2, communication_j: '' is not a number"),
        (HEADER + "\n\n1,2,-3,4\n", "line 3, compute_j: must be zero or more, got -3"),
        (HEADER + "\n1,nan,3,4\n", "line 2, communication_s: must be zero or more, got nan"),
        (HEADER + "\ninf,2,3,4\n", "line 2, compute_s: must be zero or more, got inf"),
        (HEADER + "\n1,2,3\n", "line 2 has 3 values for 4 columns"),
        (HEADER + ",name\n1,2,3,4,a\n1,2,3,4,a\n", "line 3: 'a' is on line 2 already"),
        (HEADER + ",name\n1,2,3,4,\n", "line 2: name is empty"),
        (HEADER + ",compute_s\n1,2,3,4,5\n", "names the column compute_s twice"),
        (b"\xff\xfe\x00\x01", "is not a text file"),
        (HEADER + '\n"1,2,3,4\n' + "9" * 140_000, "line 3: field larger"),
    ],
    ids=lambda value: None if isinstance(value, bytes) or len(value) > 60 else value[:40],
)
def test_a_damaged_table_is_told_with_line_and_column(file, text, words):
    with pytest.raises(DataError) as caught:
        read_devices(file(text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*fleet\.csv: No such file"):
        read_devices(tmp_path / "fleet.csv")


def test_shares_are_those_of_the_samples(file):
    path = file(HEADER + ",samples\n1,2,3,4,30\n1,2,3,4,10\n")
    np.testing.assert_array_equal(read_shares(path), [0.75, 0.25])
    with pytest.raises(DataError, match="has no column samples"):
        read_shares(file(HEADER + "\n1,2,3,4\n"))
    with pytest.raises(DataError, match="samples are zero in every line"):
        read_shares(file(HEADER + ",samples\n1,2,3,4,0\n"))


# FedScale.

PROFILE = {
    1: {"computation": 100.0, "communication": 8000},
    2: {"computation": 50.0, "communication": 4000.0},
    3: {"computation": 10.0, "communication": 1000.0},
}


def forms():
    lines = [f"{entry['computation']},{entry['communication']}" for entry in PROFILE.values()]
    return {
        "device_info": pickle.dumps(PROFILE),
        "device_info.json": json.dumps(PROFILE).encode(),
        "device_info.csv": ("computation,communication\n" + "\n".join(lines)).encode(),
    }


@pytest.mark.parametrize("name", list(forms()))
def test_a_speed_profile_gives_fedscales_seconds_in_each_of_its_forms(file, name):
    path = file(forms()[name], name)
    devices = fedscale_devices(
        path, 3, 0, batch_size=20, model_bytes=1e6, compute_watts=3.0, radio_watts=0.5
    )
    order = np.argsort(devices.compute_s)
    # 3 x 20 samples x ms; 16 Mbit over the bandwidth.
    np.testing.assert_allclose(devices.compute_s[order], [0.6, 3.0, 6.0])
    np.testing.assert_allclose(devices.communication_s[order], [16.0, 4.0, 2.0])
    np.testing.assert_allclose(devices.compute_j, 3 * devices.compute_s)
    np.testing.assert_allclose(devices.communication_j, 0.5 * devices.communication_s)
    assert "joules assumed: 3 W computing, 0.5 W exchanging" in devices.source


def test_devices_are_drawn_by_the_seed_and_over_again_only_when_all_are(file):
    path = file(forms()["device_info"], "device_info")
    seven = fedscale_devices(path, 7, 5).compute_s
    _, counts = np.unique(seven, return_counts=True)
    assert sorted(counts.tolist()) == [2, 2, 3]
    np.testing.assert_array_equal(seven, fedscale_devices(path, 7, 5).compute_s)
    orders = {tuple(fedscale_devices(path, 3, seed).compute_s) for seed in range(30)}
    assert len(orders) == 6


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (pickle.dumps({1: Harmful()}), "p", "only plain numbers are loaded: save it as JSON"),
        (pickle.dumps({1: np.float64(1)}), "p", "only plain numbers are loaded"),
        (b"(S'x'\nQ.", "p", "refers to data outside"),
        (b"not a pickle", "p", "cannot be read as a pickle"),
        (b"", "p", "cannot be read as a pickle"),
        (b"{", "p.json", "cannot be read as JSON"),
        (pickle.dumps([1]), "p", "must hold a dict of devices, got list"),
        (pickle.dumps({}), "p", "holds no device"),
        (pickle.dumps({7: {"computation": 1}}), "p", "device 7: computation and communication"),
        (pickle.dumps({7: 3}), "p", "device 7: computation and communication must be positive"),
        (b'{"7": {"computation": 0, "communication": 1}}', "p.json", "device 7"),
        (b"computation,communication\n1,fast\n", "p.csv", "line 2: computation and"),
        (b"computation\n1\n", "p.csv", "has no column communication"),
    ],
    ids=range(13),
)
def test_a_profile_that_is_none_is_refused_and_runs_no_code(
    file, tmp_path, monkeypatch, data, name, words
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        fedscale_devices(file(data, name), 3, 0)
    assert words in str(caught.value)
    assert not (tmp_path / "harm").exists()


def test_a_profile_that_is_missing_and_numbers_out_of_range_are_refused(file, tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        fedscale_devices(tmp_path / "none", 3, 0)
    path = file(forms()["device_info"], "device_info")
    with pytest.raises(SettingsError, match="batch_size must be positive, got 0"):
        fedscale_devices(path, 3, 0, batch_size=0)
    with pytest.raises(SettingsError, match="clients must be positive, got 0"):
        fedscale_devices(path, 0, 0)

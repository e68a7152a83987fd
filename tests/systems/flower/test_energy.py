from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError
from gnomon.systems.flower.energy import PowerModel, Reading, chosen_method, read_rapl


def counters(folder, **zones):
    """A made-up /sys/class/powercap: microjoules by zone."""
    for name, microjoules in zones.items():
        zone = folder / name.replace("_", ":")
        zone.mkdir(exist_ok=True)
        (zone / "energy_uj").write_text(f"{microjoules}\n")
        (zone / "max_energy_range_uj").write_text("262143328850\n")
    return folder


def test_rapl_adds_up_packages_and_leaves_out_their_parts(tmp_path):
    zones = {"intel-rapl_0": 1_000_000, "intel-rapl_1": 5_000_000, "intel-rapl_0_0": 900_000}
    first = read_rapl(counters(tmp_path, **zones))
    zones |= {"intel-rapl_0": 3_000_000, "intel-rapl_1": 5_500_000, "intel-rapl_0_0": 2_000_000}
    second = read_rapl(counters(tmp_path, **zones))
    assert first is not None
    assert second is not None
    assert second.since(first) == pytest.approx(2.5)


@given(st.floats(0, 1000), st.floats(0, 999))
def test_a_counter_that_wraps_loses_nothing(start, spent):
    later = (start + spent) % 1000
    reading = Reading({"a": later}, {"a": 1000.0}).since(Reading({"a": start}, {"a": 1000.0}))
    assert reading == pytest.approx(spent, abs=1e-6)


def test_no_counters_means_the_power_model(tmp_path):
    assert read_rapl(tmp_path) is None
    assert read_rapl(tmp_path / "missing") is None
    assert chosen_method("auto", tmp_path) == "model"


def test_counters_that_may_not_be_read_mean_the_power_model(tmp_path):
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0" / "energy_uj").mkdir()  # reading it fails, for root too
    assert chosen_method("auto", tmp_path) == "model"


def test_readable_counters_are_used_if_the_user_leaves_it_open(tmp_path):
    counters(tmp_path, **{"intel-rapl_0": 1})
    assert chosen_method("auto", tmp_path) == "rapl"
    assert chosen_method("model", tmp_path) == "model"


def test_asking_for_rapl_where_there_is_none_says_what_to_do(tmp_path):
    with pytest.raises(SettingsError, match="energy=model"):
        chosen_method("rapl", tmp_path)
    with pytest.raises(SettingsError, match="auto, rapl, model"):
        chosen_method("guess", tmp_path)


@pytest.mark.parametrize("watts", [-1.0, float("nan"), float("inf"), "four"])
def test_watts_must_be_a_number_of_zero_or_more(watts):
    with pytest.raises(SettingsError, match="watts_radio must be zero or more"):
        PowerModel(watts_radio=watts)

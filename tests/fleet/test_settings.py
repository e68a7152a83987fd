"""Settings of a federation: learning rates by hand, and what is refused."""

import pytest
from pydantic import ValidationError

from gnomon.core.errors import SettingsError
from gnomon.fleet.settings import FederatedSettings


@pytest.mark.parametrize(
    ("decay", "rates"),
    [
        ("constant", [0.4, 0.4, 0.4]),
        ("exponential:0.5", [0.4, 0.2, 0.1]),
        ("inverse", [0.4, 0.2, 0.4 / 3]),
        ("inverse:2", [0.4, 0.4 / 1.5, 0.2]),
    ],
)
def test_the_learning_rate_decays_as_it_is_said_to(decay, rates):
    settings = FederatedSettings(learning_rate=0.4, decay=decay)
    assert [settings.learning_rate_at(step) for step in range(3)] == pytest.approx(rates)


@pytest.mark.parametrize(
    "decay", ["", "linear", "exponential:", "exponential:0", "inverse:-1", "inverse:1e999"]
)
def test_a_decay_that_means_nothing_is_refused_when_it_is_set(decay):
    with pytest.raises(SettingsError, match=r"exponential:FACTOR or inverse:ROUNDS, got '"):
        FederatedSettings(decay=decay)


@pytest.mark.parametrize(
    "settings",
    [
        {"gamma": 1.1},
        {"gamma": float("nan")},
        {"learning_rate": 0},
        {"learning_rate": float("inf")},
        {"over_selection": 0.5},
        {"deadline_s": 0},
        {"max_rounds": 0},
        {"max_energy_j": -1},
        {"sampling": "all"},
        {"noise_multiplier": 1.0},
        {"target_loss": 1.0, "evaluate_every": 0},
        {"no_such": 1},
    ],
)
def test_settings_out_of_range_or_at_odds_are_refused(settings):
    with pytest.raises(ValidationError):
        FederatedSettings(**settings)


def test_settings_survive_json():
    settings = FederatedSettings(gamma=0.1, target_loss=1.5, deadline_s=3.0, decay="inverse:7")
    assert FederatedSettings.model_validate_json(settings.model_dump_json()) == settings

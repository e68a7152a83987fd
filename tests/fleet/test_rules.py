"""The rules of a federation, one by one: what each finds, and what it says to change."""

from dataclasses import replace

import pytest

from gnomon.core.spec import QualityTarget
from gnomon.fleet.rules import PROFILES, Found, federation_checks, verdict_of
from gnomon.fleet.settings import FederatedSettings
from tests.fleet.test_outcome import outcome_of

TARGET = QualityTarget(metric="top-1 accuracy", reference=0.8, factor=0.9)
FOUND = Found(outcome_of(), {"reason": "target", "why": "it is there"}, (), (), ())
SETTINGS = FederatedSettings(target_loss=1.0)


def checks_of(found=FOUND, **settings):
    made = federation_checks(
        found,
        SETTINGS.model_copy(update=settings),
        TARGET,
        PROFILES["quick"],
        "federation",
    )
    return {check.name: check for check in made}


def test_a_federation_that_keeps_every_rule_passes_all_of_them():
    checks = checks_of(max_duration_s=120.0, max_energy_j=12.0)
    assert list(checks) == [
        "faults",
        "target",
        "quality",
        "reported",
        "duration_budget",
        "energy_budget",
        "ledger",
        "device_costs",
    ]
    assert all(check.passed and not check.why for check in checks.values())


@pytest.mark.parametrize(
    ("reason", "mend"),
    [
        ("rounds", "raise --max-rounds"),
        ("budget", "raise the budget"),
        ("diverged", "smaller --learning-rate"),
        ("no reports", "clients.parquet"),
        ("stopped", "another --controller"),
        ("", "resume it"),
    ],
)
def test_a_target_that_was_missed_says_why_and_what_to_change(reason, mend):
    found = replace(
        FOUND,
        outcome=outcome_of(target_loss=0.5),
        ended={"reason": reason, "why": "that is why"} if reason else {},
    )
    check = checks_of(found, target_loss=0.5)["target"]
    assert not check.passed
    assert mend in check.why
    assert check.found == "loss 0.9000 after 5 rounds"
    assert check.required == "at most 0.5000"


def test_without_a_target_there_is_no_such_rule():
    assert "target" not in checks_of(target_loss=None)


def test_the_model_must_be_good_enough_on_held_out_samples():
    check = checks_of(replace(FOUND, outcome=outcome_of(quality=0.7)))["quality"]
    assert not check.passed
    assert check.required == "at least 0.7200 (90 % of the reference, 0.8000)"


def test_enough_of_the_reports_must_come():
    outcome = replace(outcome_of(), reported=0.4)
    check = checks_of(replace(FOUND, outcome=outcome))["reported"]
    assert not check.passed
    assert "--deadline" in check.why


@pytest.mark.parametrize(
    ("budget", "name", "mend"),
    [
        ({"max_duration_s": 119.0}, "duration_budget", "--max-duration"),
        ({"max_energy_j": 11.9}, "energy_budget", "--max-energy"),
    ],
)
def test_a_budget_that_was_not_kept_fails(budget, name, mend):
    check = checks_of(**budget)[name]
    assert not check.passed
    assert mend in check.why


def test_a_ledger_that_does_not_add_up_fails_with_the_place():
    checks = checks_of(replace(FOUND, ledger_faults=("round 3 is wrong",)))
    assert not checks["ledger"].passed
    assert checks["ledger"].found == "round 3 is wrong"


def test_times_and_joules_are_only_held_against_devices_where_the_clock_is_virtual():
    assert "device_costs" not in checks_of(replace(FOUND, clock_faults=None))
    assert not checks_of(replace(FOUND, clock_faults=("round 1",)))["device_costs"].passed


def test_a_fault_of_the_fleet_is_a_failed_check_with_its_words():
    found = replace(FOUND, faults=({"kind": "raised", "message": "mine: ValueError: no"},))
    check = checks_of(found)["raised"]
    assert not check.passed
    assert check.why == "mine: ValueError: no"


def test_a_federation_without_a_round_fails_and_nothing_else_is_judged():
    checks = checks_of(replace(FOUND, outcome=None))
    assert list(checks) == ["faults", "rounds"]
    assert not checks["rounds"].passed


def test_a_verdict_is_never_comparable_and_says_all_reasons():
    verdict = verdict_of(
        list(checks_of().values()),
        PROFILES["quick"],
        official_data=False,
        registered=False,
        departures=["clients 7 instead of 10"],
    )
    assert verdict.valid
    assert not verdict.comparable
    assert verdict.remark == (
        "not comparable with published results: quick rules, not the official data, not a registered "
        "benchmark and other than declared (clients 7 instead of 10)"
    )

"""Verdicts: when they are valid, how they are worded, and that they survive being written down."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.verdict import Check, Verdict

GOOD = Check("min_duration", True, "10.2 s", "at least 10 s", measurement="offline")
BAD = Check("quality", False, "0.91", "at least 0.97", "train it longer", "accuracy")
CHECKS = st.builds(
    Check, st.text(), st.booleans(), st.text(), st.text(), st.text(), st.sampled_from(["", "a"])
)
VERDICTS = st.builds(
    Verdict, st.text(), st.lists(CHECKS, max_size=4).map(tuple), st.booleans(), st.text()
)


def test_a_verdict_is_valid_only_if_every_check_holds():
    assert Verdict("quick", (GOOD, GOOD)).valid
    assert not Verdict("quick", (GOOD, BAD)).valid


def test_a_verdict_without_a_single_check_is_not_valid():
    assert not Verdict("quick", ()).valid
    assert Verdict("quick", ()).word == "INVALID"


@given(st.lists(CHECKS, max_size=5).map(tuple))
def test_a_verdict_with_checks_is_valid_exactly_when_none_fails(checks):
    verdict = Verdict("quick", checks)
    assert verdict.valid == (bool(checks) and not verdict.failures)
    assert verdict.word == ("VALID" if verdict.valid else "INVALID")


def test_failures_are_the_checks_that_do_not_hold_in_their_order():
    worse = replace(BAD, name="faults")
    assert Verdict("quick", (BAD, GOOD, worse)).failures == (BAD, worse)


def test_a_verdict_on_one_measurement_has_only_its_checks():
    whole = Verdict("quick", (GOOD, BAD), remark="not the official data")
    offline = whole.of("offline")
    assert offline.checks == (GOOD,)
    assert offline.valid
    assert (offline.profile, offline.remark) == ("quick", "not the official data")
    assert not whole.of("accuracy").valid
    assert not whole.of("server").valid  # nothing was measured, so nothing holds


@pytest.mark.parametrize("comparable", [False, True])
@pytest.mark.parametrize("checks", [(GOOD,), (GOOD, BAD), ()])
def test_a_verdict_in_words_always_names_its_rules(checks, comparable):
    words = str(Verdict("official", checks, comparable))
    assert words.startswith(("VALID under official rules", "INVALID under official rules"))


def test_only_a_valid_and_comparable_verdict_is_worded_as_comparable():
    words = {
        (valid, comparable): str(Verdict("official", (GOOD if valid else BAD,), comparable))
        for valid in (False, True)
        for comparable in (False, True)
    }
    assert words.pop((True, True)) == (
        "VALID under official rules, comparable with published results"
    )
    assert all("comparable" not in text for text in words.values())


@given(VERDICTS)
def test_a_verdict_read_back_from_json_is_the_same(verdict):
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


@given(VERDICTS)
def test_the_json_form_says_in_words_what_the_checks_say(verdict):
    said = verdict.to_json()
    assert said["valid"] == verdict.valid
    assert said["text"] == str(verdict)
    assert len(said["checks"]) == len(verdict.checks)


def test_what_the_json_form_claims_about_validity_is_not_believed_when_it_is_read():
    said = Verdict("quick", (BAD,)).to_json() | {"valid": True, "text": "VALID"}
    assert not Verdict.from_json(said).valid


def test_checks_and_verdicts_cannot_be_altered():
    with pytest.raises(FrozenInstanceError):
        BAD.passed = True
    with pytest.raises(FrozenInstanceError):
        Verdict("quick", (BAD,)).checks = ()

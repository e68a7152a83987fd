"""Answers held against the model's: what is counted, what is said of it, and what a damaged record gives."""

import numpy as np
import pytest

from gnomon.core.errors import RunFolderError
from gnomon.loadgen.agreement import (
    BETTER,
    FARTHEST,
    NO_NUMBER,
    agreement_checks,
    agreement_of,
    agreement_on_record,
)


def agreement(*distances, precision="fp32"):
    return agreement_of(np.array(distances), precision, "ab", 0.9)


def failed(found, quality, *, higher_is_better=True):
    checks = agreement_checks(found, quality, "accuracy", higher_is_better=higher_is_better)
    assert all(
        check.measurement == "accuracy" and check.passed != bool(check.why) for check in checks
    )
    return [check.name for check in checks if not check.passed]


def test_answers_within_the_limit_are_the_models():
    found = agreement(0.0, 0.004, FARTHEST["fp32"])
    assert (found.samples, found.apart, found.farthest) == (3, 0, FARTHEST["fp32"])
    assert failed(found, 0.9) == []


def test_one_answer_of_another_origin_fails_all():
    found = agreement(0.0, 1.4, 0.01)
    assert failed(found, 0.9) == ["answers_of_the_model"]
    check, _ = agreement_checks(found, 0.9, "accuracy", higher_is_better=True)
    assert check.found == "2 of 3 answers as the model's, the worst 1.4 off"
    assert "another" in check.why


def test_answers_that_are_better_together_are_not_the_models_however_near():
    assert failed(agreement(0.0), 0.9 * (1 + 1.1 * BETTER)) == ["no_better_than_the_model"]
    assert failed(agreement(0.0), 0.9 * (1 + 0.9 * BETTER)) == []
    lower = {"higher_is_better": False}
    assert failed(agreement(0.0), 0.9 * (1 - 1.1 * BETTER), **lower) == ["no_better_than_the_model"]
    assert failed(agreement(0.0), 0.9 * (1 - 0.9 * BETTER), **lower) == []
    assert failed(agreement(0.0), 0.5) == failed(agreement(0.0), 1.5, **lower) == []


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e9])
def test_what_is_no_number_is_off_by_a_number_that_json_can_hold(wrong):
    found = agreement(0.0, wrong, precision="int8")
    assert (found.apart, found.farthest) == (1, NO_NUMBER)


def test_it_comes_back_from_the_record_as_it_was_put_there():
    found = agreement(0.1)
    assert agreement_on_record({"agreement": found.model_dump(mode="json")}) == found
    assert agreement_on_record({}) is None


@pytest.mark.parametrize("damaged", [{"apart": -1}, {"samples": 0}, {"limit": 0}, {"more": 1}])
def test_a_damaged_one_is_named(damaged):
    stored = agreement(0.1).model_dump(mode="json") | damaged
    with pytest.raises(
        RunFolderError, match=f"agreement on record is damaged: {next(iter(damaged))}"
    ):
        agreement_on_record({"agreement": stored})

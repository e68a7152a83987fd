"""Answers held against the model's: what is counted, what is said of it, and what a damaged record gives."""

import numpy as np
import pytest

from gnomon.core.errors import RunFolderError
from gnomon.loadgen.agreement import (
    FARTHEST,
    NO_NUMBER,
    agreement_check,
    agreement_of,
    agreement_on_record,
)


def test_answers_within_the_limit_are_the_models():
    agreement = agreement_of(np.array([0.0, 0.004, FARTHEST["fp32"]]), "fp32", "ab")
    assert (agreement.samples, agreement.apart, agreement.farthest) == (3, 0, 0.05)
    check = agreement_check(agreement, "accuracy")
    assert check.passed
    assert not check.why
    assert check.measurement == "accuracy"


def test_one_answer_of_another_origin_fails_all():
    check = agreement_check(agreement_of(np.array([0.0, 1.4, 0.01]), "fp32", "ab"), "accuracy")
    assert not check.passed
    assert check.found == "2 of 3 answers as the model's, the worst 1.4 off"
    assert "another" in check.why


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e9])
def test_what_is_no_number_is_off_by_a_number_that_json_can_hold(wrong):
    agreement = agreement_of(np.array([0.0, wrong]), "int8", "ab")
    assert (agreement.apart, agreement.farthest) == (1, NO_NUMBER)


def test_it_comes_back_from_the_record_as_it_was_put_there():
    agreement = agreement_of(np.array([0.1]), "int8", "ab")
    assert agreement_on_record({"agreement": agreement.model_dump(mode="json")}) == agreement
    assert agreement_on_record({}) is None


@pytest.mark.parametrize("damaged", [{"apart": -1}, {"samples": 0}, {"limit": 0}, {"more": 1}])
def test_a_damaged_one_is_named(damaged):
    stored = agreement_of(np.array([0.1]), "int8", "ab").model_dump(mode="json") | damaged
    with pytest.raises(
        RunFolderError, match=f"agreement on record is damaged: {next(iter(damaged))}"
    ):
        agreement_on_record({"agreement": stored})

"""Rules of hyperparameters: what they let vary, what they say when they do not, and their JSON."""

import math

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gnomon.timetotrain.hyperparameters import (
    BATCH_KEYS,
    HyperparameterRule,
    compare_hyperparameters,
)

quick = hypothesis.settings(deadline=None, derandomize=True, max_examples=100)
Rule = HyperparameterRule
REFERENCE = {
    "opt_name": "sgd",
    "global_batch_size": 256,
    "opt_base_learning_rate": 0.1,
    "opt_end_learning_rate": 0.01,
    "opt_sgd_momentum": 0.9,
    "opt_weight_decay": 5e-5,
    "opt_learning_rate_warmup_steps": 8000,
    "opt_learning_rate_decay_steps": 1_192_000,
}
FREE_BATCH = Rule(key="global_batch_size")


def judged(rules, candidate, key):
    """The check of one key, among the checks of all."""
    checks = {check.name: check for check in compare_hyperparameters(rules, REFERENCE, candidate)}
    return checks[f"hyperparameter_{key}"]


def test_the_reference_itself_passes_and_every_key_is_checked():
    checks = compare_hyperparameters([], REFERENCE, dict(REFERENCE), measurement="runs")
    assert [check.name for check in checks] == [f"hyperparameter_{key}" for key in REFERENCE]
    assert all(check.passed and not check.why for check in checks)
    assert {check.measurement for check in checks} == {"runs"}


@pytest.mark.parametrize("key", REFERENCE)
def test_a_hyperparameter_without_a_rule_must_equal_the_reference(key):
    value = REFERENCE[key]
    other = "lars" if isinstance(value, str) else value * 1.001
    check = judged([], REFERENCE | {key: other}, key)
    assert not check.passed
    assert check.required in check.why
    assert "no rule lets it vary" in check.why
    assert judged([Rule(key=key)], REFERENCE | {key: other}, key).passed


def test_a_missing_hyperparameter_and_an_unknown_one_fail():
    without = {key: value for key, value in REFERENCE.items() if key != "opt_weight_decay"}
    missing = judged([Rule(key="opt_weight_decay")], without, "opt_weight_decay")
    assert (missing.passed, missing.found) == (False, "missing")
    assert missing.why == "log opt_weight_decay: the reference has 5e-05"
    unknown = judged([], REFERENCE | {"opt_secret": 1}, "opt_secret")
    assert not unknown.passed
    assert "leave out opt_secret" in unknown.why
    assert judged([Rule(key="opt_secret")], REFERENCE | {"opt_secret": 1}, "opt_secret").passed


@pytest.mark.parametrize(
    ("rule", "passing", "failing"),
    [
        ({"one_of": (0.9, 0.95)}, [0.9, 0.95], [0.91, "0.9", True, None]),
        ({"one_of": ("lars", "sgd")}, ["lars", "sgd"], ["adam", 1]),
        ({"at_least": 15360}, [15360, 1e9], [15359, math.nan, math.inf, "many"]),
        ({"at_most": 1.0, "at_least": 0.5}, [0.5, 1], [0.49, 1.01]),
        ({"whole": True, "at_least": 0}, [0, 7, 7.0], [0.5, -1]),
        ({"multiple_of": 0.02}, [0.02, 0.06, 1.4], [0.03, 0.005]),
        ({"power_of_two_times": 1e-4}, [1e-4, 8e-4, 2.5e-5], [3e-4, 0.0, -1e-4]),
    ],
)
def test_a_constraint_takes_what_it_says_and_nothing_else(rule, passing, failing):
    rule = Rule(key="opt_weight_decay", **rule)
    for value in passing:
        assert judged([rule], REFERENCE | {"opt_weight_decay": value}, rule.key).passed, value
    for value in failing:
        check = judged([rule], REFERENCE | {"opt_weight_decay": value}, rule.key)
        assert not check.passed, value
        assert "opt_weight_decay" in check.why
        assert check.required == rule.in_words


@pytest.mark.parametrize(
    ("power", "batch", "expected"),
    [(1, 512, 0.2), (0.5, 1024, 0.2), (-1, 128, 0.2), (-0.5, 64, 0.2), (2, 512, 0.4)],
)
def test_a_learning_rate_follows_the_batch_size(power, batch, expected):
    rule = Rule(key="opt_base_learning_rate", scales_with="global_batch_size", power=power)
    candidate = REFERENCE | {"global_batch_size": batch}
    right = judged([FREE_BATCH, rule], candidate | {rule.key: expected}, rule.key)
    assert right.passed
    wrong = judged([FREE_BATCH, rule], candidate, rule.key)
    assert not wrong.passed
    assert f"set opt_base_learning_rate to {expected:g} " in wrong.why
    assert f"({batch} / 256)" in wrong.why


@quick
@given(st.integers(1, 1 << 20), st.floats(0.001, 0.2), st.floats(-0.3, 0.3))
def test_a_tolerance_is_relative_to_the_reckoned_value(batch, tolerance, off):
    hypothesis.assume(abs(abs(off) - tolerance) > 1e-6)
    rule = Rule(key="opt_base_learning_rate", scales_with="global_batch_size", tolerance=tolerance)
    rate = 0.1 * batch / 256
    # Relative to the greater of the two, as `math.isclose` has it.
    value = rate * (1 + off) if off < 0 else rate / (1 - off)
    check = judged([rule], REFERENCE | {"global_batch_size": batch, rule.key: value}, rule.key)
    assert check.passed == (abs(off) <= tolerance)


@quick
@given(st.integers(1, 1 << 16))
def test_steps_that_shrink_with_the_batch_are_rounded_up(batch):
    reference = REFERENCE | {"global_batch_size": 1152}
    warmup = Rule(
        key="opt_learning_rate_warmup_steps",
        scales_with="global_batch_size",
        power=-1,
        rounded_up=True,
    )
    decay = warmup.model_copy(
        update={"key": "opt_learning_rate_decay_steps", "sum_with": warmup.key}
    )
    steps = math.ceil(8000 * 1152 / batch)
    right = reference | {
        "global_batch_size": batch,
        warmup.key: steps,
        decay.key: math.ceil(1_200_000 * 1152 / batch) - steps,
    }
    rules = [FREE_BATCH, warmup, decay]
    assert all(check.passed for check in compare_hyperparameters(rules, reference, right))
    for key in (warmup.key, decay.key):
        checks = compare_hyperparameters(rules, reference, right | {key: right[key] + 1})
        assert f"hyperparameter_{key}" in {check.name for check in checks if not check.passed}


def test_steps_that_come_out_whole_are_not_rounded_up_for_a_last_bit():
    rule = Rule(
        key="opt_learning_rate_warmup_steps",
        scales_with="global_batch_size",
        power=-1,
        rounded_up=True,
    )
    # 265 * 1536 / 265 is 1536, and 1536.0000000000002 in floating point.
    reference = {"global_batch_size": 1536, rule.key: 265}
    candidate = {"global_batch_size": 265, rule.key: 1536}
    assert all(
        check.passed for check in compare_hyperparameters([FREE_BATCH, rule], reference, candidate)
    )


def test_a_rate_may_follow_another_hyperparameter_and_a_sum_may_be_kept():
    rules = [
        Rule(key="opt_base_learning_rate"),
        Rule(key="opt_end_learning_rate", scales_with="opt_base_learning_rate"),
        Rule(key="opt_learning_rate_warmup_steps"),
        Rule(key="opt_learning_rate_decay_steps", sum_with="opt_learning_rate_warmup_steps"),
    ]
    candidate = REFERENCE | {
        "opt_base_learning_rate": 0.3,
        "opt_end_learning_rate": 0.03,
        "opt_learning_rate_warmup_steps": 0,
        "opt_learning_rate_decay_steps": 1_200_000,
    }
    assert all(check.passed for check in compare_hyperparameters(rules, REFERENCE, candidate))
    off_by_one = candidate | {"opt_learning_rate_decay_steps": 1_200_001}
    check = judged(rules, off_by_one, "opt_learning_rate_decay_steps")
    assert not check.passed
    assert "to 1200000 " in check.why


@pytest.mark.parametrize("batch", [None, "big", 0])
def test_what_a_formula_needs_and_does_not_find_is_named(batch):
    rule = Rule(key="opt_base_learning_rate", scales_with="global_batch_size")
    candidate = REFERENCE | {"global_batch_size": batch}
    check = judged([FREE_BATCH, rule], candidate, "opt_base_learning_rate")
    assert not check.passed
    assert "global_batch_size" in check.why


def test_another_optimizer_brings_its_own_rules_and_keys():
    rules = [
        Rule(key="opt_name", one_of=("sgd", "lars")),
        Rule(key="opt_lars_epsilon", optimizer="lars", one_of=(0, 1e-6)),
        Rule(key="opt_weight_decay", optimizer="lars"),
    ]
    lars = {key: value for key, value in REFERENCE.items() if key != "opt_sgd_momentum"}
    lars |= {"opt_name": "lars", "opt_lars_epsilon": 0, "opt_weight_decay": 2e-4}
    assert all(check.passed for check in compare_hyperparameters(rules, REFERENCE, lars))
    kept = REFERENCE | {"opt_weight_decay": 2e-4}
    assert not judged(rules, kept, "opt_weight_decay").passed
    dropped = {key: value for key, value in REFERENCE.items() if key != "opt_sgd_momentum"}
    assert not judged(rules, dropped, "opt_sgd_momentum").passed


def test_borrowed_hyperparameters_are_taken_as_a_group_and_batch_sizes_are_free():
    rules = [Rule(key=key) for key in REFERENCE]
    lender = REFERENCE | {"opt_base_learning_rate": 0.4, "opt_weight_decay": 2e-4}
    borrower = lender | {"global_batch_size": 4096}
    checks = compare_hyperparameters(rules, REFERENCE, borrower, borrowed_from=lender)
    assert checks[-1].name == "hyperparameters_borrowed_as_a_group"
    assert all(check.passed for check in checks)
    half = REFERENCE | {"opt_base_learning_rate": 0.4}
    check = compare_hyperparameters(rules, REFERENCE, half, borrowed_from=lender)[-1]
    assert not check.passed
    assert check.found == "opt_weight_decay 5e-05 instead of 0.0002"
    assert check.why == "take over opt_weight_decay as well"
    assert "global_batch_size" in BATCH_KEYS


values = st.one_of(st.integers(-5, 5), st.floats(-5, 5), st.sampled_from(["sgd", "adam"]))


@quick
@given(
    st.builds(
        Rule,
        key=st.sampled_from(["opt_weight_decay", "opt_name"]),
        optimizer=st.none() | st.just("sgd"),
        one_of=st.none() | st.lists(values, min_size=1, max_size=3).map(tuple),
        at_least=st.none() | st.floats(-5, 0),
        at_most=st.none() | st.floats(0, 5),
        whole=st.booleans(),
        multiple_of=st.none() | st.floats(0.01, 2),
        scales_with=st.just("global_batch_size"),
        power=st.sampled_from([1.0, 0.5, -1.0]),
        sum_with=st.none() | st.just("opt_base_learning_rate"),
        rounded_up=st.booleans(),
        tolerance=st.floats(0, 0.5),
    ),
    values,
)
def test_a_rule_is_the_same_after_a_round_trip_through_json(rule, value):
    again = TypeAdapter(Rule).validate_json(rule.model_dump_json())
    assert again == rule
    candidate = REFERENCE | {rule.key: value}
    assert judged([again], candidate, rule.key) == judged([rule], candidate, rule.key)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"at_least": 2, "at_most": 1}, "is above at_most"),
        ({"scales_with": "a"}, "a cannot follow itself"),
        ({"power": 0.5}, "need scales_with"),
        ({"rounded_up": True}, "need scales_with"),
        ({"one_of": ()}, "at least 1 item"),
        ({"multiple_of": 0}, "greater than 0"),
        ({"at_lest": 1}, "not permitted"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Rule(key="a", **wrong)

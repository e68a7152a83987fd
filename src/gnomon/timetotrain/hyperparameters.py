"""Which hyperparameters a run may set otherwise than the reference, and how: rules as data, one a row.

A benchmark's settings hold its rules; two runs (or a run and the reference) are compared under them here.
Keys are the field's log keys. A hyperparameter without a rule must equal the reference's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from gnomon.core.spec import Declared
from gnomon.core.verdict import Check

BATCH_KEYS = (
    "global_batch_size",
    "local_batch_size",
    "gradient_accumulation_steps",
    "model_bn_span",
)
"""What may differ from the entry that hyperparameters are borrowed from."""

SAME = 1e-9
"""Two numbers closer than this, relatively, are equal: a log may print fewer digits than were set."""


class HyperparameterRule(Declared):
    """How one hyperparameter may be set. Everything that is given must hold; nothing given: it is free.

    With `scales_with`, the value must be the reference's times
    `(candidate[scales_with] / reference[scales_with]) ** power`. With `sum_with`, that is said of the
    sum with another hyperparameter (decay and warm-up steps that end at the same step).

    The rows of the field's table in this form ("MLPerf Training rules", "Hyperparameters"):

        0.9                                        one_of=(0.9,)
        "lars" or "sgd"                            one_of=("lars", "sgd")
        >= 15360                                   at_least=15360
        integer >= 0                               whole=True, at_least=0
        0.02 * K for any integer K                 multiple_of=0.02
        0.0001 * 2 ^ N                             power_of_two_times=0.0001
        8e-5 * (global_batch_size / 1152)          scales_with="global_batch_size"
        0.000024 * sqrt(global_batch_size / 16384) scales_with="global_batch_size", power=0.5
        opt_base_learning_rate * 0.1               scales_with="opt_base_learning_rate"
        ceil(8000 * 1152 / global_batch_size)      scales_with="global_batch_size", power=-1, rounded_up=True
        1_200_000 - opt_learning_rate_warmup_steps sum_with="opt_learning_rate_warmup_steps"
    """

    key: str = Field(min_length=1, description="the field's log key")
    optimizer: str | None = Field(
        default=None, description="the rule is only for runs with this opt_name"
    )
    one_of: tuple[bool | int | float | str, ...] | None = Field(default=None, min_length=1)
    at_least: float | None = None
    at_most: float | None = None
    whole: bool = Field(default=False, description="a whole number")
    multiple_of: float | None = Field(default=None, gt=0)
    power_of_two_times: float | None = Field(default=None, gt=0)
    scales_with: str | None = Field(default=None, description="key whose ratio it follows")
    power: float = Field(default=1.0, description="1: linearly, 0.5: with the square root")
    sum_with: str | None = Field(default=None, description="key that it is added to first")
    rounded_up: bool = Field(default=False, description="the scaled value is a whole number")
    tolerance: float = Field(default=SAME, ge=0, lt=1, description="of a reckoned value, relative")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least} is above at_most {self.at_most}")
        if self.key in (self.scales_with, self.sum_with):
            raise ValueError(f"{self.key} cannot follow itself")
        if self.scales_with is None and (self.power != 1 or self.rounded_up):
            raise ValueError("power and rounded_up need scales_with")
        return self

    @property
    def in_words(self) -> str:
        """The rule as a person would write it, without the numbers of a comparison."""
        parts = []
        if self.one_of is not None:
            listed = ", ".join(_shown(value) for value in self.one_of)
            parts.append(listed if len(self.one_of) == 1 else f"one of {listed}")
        if self.whole:
            parts.append("a whole number")
        if self.at_least is not None:
            parts.append(f"at least {self.at_least:g}")
        if self.at_most is not None:
            parts.append(f"at most {self.at_most:g}")
        if self.multiple_of is not None:
            parts.append(f"a multiple of {self.multiple_of:g}")
        if self.power_of_two_times is not None:
            parts.append(f"{self.power_of_two_times:g} times a power of two")
        if self.scales_with is not None or self.sum_with is not None:
            parts.append(self._formula)
        return ", ".join(parts) or "anything"

    @property
    def _formula(self) -> str:
        text = "the reference's"
        if self.sum_with is not None:
            text = f"together with {self.sum_with} the reference's"
        if self.scales_with is not None:
            ways = {
                1.0: "in proportion to",
                0.5: "with the square root of",
                -1.0: "inversely with",
                -0.5: "inversely with the square root of",
            }
            way = ways.get(self.power, f"with the power {self.power:g} of")
            text += f", scaled {way} {self.scales_with}"
        return text + (", rounded up" if self.rounded_up else "")


def compare_hyperparameters(
    rules: Sequence[HyperparameterRule],
    reference: Mapping[str, Any],
    candidate: Mapping[str, Any],
    *,
    borrowed_from: Mapping[str, Any] | None = None,
    measurement: str = "",
) -> list[Check]:
    """Whether a run's hyperparameters are those of the reference, or vary as the rules allow.

    Source: MLPerf Training rules, "Hyperparameters" (closed division) and "Hyperparameter Borrowing".

    Args:
        rules: A key may have several, which must all hold, and different ones by optimiser.
        reference: The reference's, or another run's, by log key: nothing but hyperparameters.
        candidate: The run's that is judged.
        borrowed_from: Those of the entry that the run says it took its own from. They must then be that
            entry's as a whole, batch sizes apart (`BATCH_KEYS`), besides holding to the rules.
        measurement: What the checks judge.

    Returns:
        A check of every key that either has, in the reference's order, named `hyperparameter_KEY`.
    """
    checks = [
        _judged(key, _rules_for(rules, key, candidate), reference, candidate, measurement)
        for key in dict.fromkeys([*reference, *candidate])
        if not _of_another_optimizer(key, reference, candidate)
    ]
    if borrowed_from is not None:
        checks.append(_borrowed(borrowed_from, candidate, measurement))
    return checks


def _rules_for(
    rules: Iterable[HyperparameterRule], key: str, candidate: Mapping[str, Any]
) -> list[HyperparameterRule]:
    optimizer = candidate.get("opt_name")
    return [rule for rule in rules if rule.key == key and rule.optimizer in (None, optimizer)]


def _of_another_optimizer(
    key: str, reference: Mapping[str, Any], candidate: Mapping[str, Any]
) -> bool:
    """Whether only the reference needs this key, because it uses another optimiser."""
    theirs = reference.get("opt_name")
    other = theirs is not None and theirs != candidate.get("opt_name")
    return other and key not in candidate and key.startswith(f"opt_{theirs}_")


def _judged(
    key: str,
    rules: list[HyperparameterRule],
    reference: Mapping[str, Any],
    candidate: Mapping[str, Any],
    measurement: str,
) -> Check:
    required, mend = "", ""
    if key not in candidate:
        required = " and ".join(rule.in_words for rule in rules) or _shown(reference[key])
        mend = f"log {key}: the reference has {_shown(reference[key])}"
    elif not rules and key not in reference:
        required = "not there: the reference does not have it"
        mend = f"leave out {key}, or declare how it may vary"
    elif not rules:
        required = _shown(reference[key])
        if not _equal(candidate[key], reference[key]):
            mend = f"set {key} to the reference's {required}: no rule lets it vary"
    else:
        required = " and ".join(rule.in_words for rule in rules)
        mends = [_breach(rule, reference, candidate) for rule in rules]
        mend = "; ".join(text for text in mends if text)
    found = _shown(candidate[key]) if key in candidate else "missing"
    return Check(f"hyperparameter_{key}", not mend, found, required, mend, measurement)


def _breach(
    rule: HyperparameterRule, reference: Mapping[str, Any], candidate: Mapping[str, Any]
) -> str:
    """What to change so that the rule holds; empty if it does."""
    key, value = rule.key, candidate[rule.key]
    if rule.one_of is not None and not any(_equal(value, each) for each in rule.one_of):
        return f"set {key} to {' or '.join(_shown(each) for each in rule.one_of)}"
    if rule.model_copy(update={"one_of": None}).in_words == "anything":
        return ""
    number = _number(value)
    if number is None:
        return f"set {key} to a number"
    if rule.whole and number != math.floor(number):
        return f"set {key} to {round(number)}, a whole number"
    if rule.at_least is not None and number < rule.at_least:
        return f"raise {key} to {rule.at_least:g} or more"
    if rule.at_most is not None and number > rule.at_most:
        return f"lower {key} to {rule.at_most:g} or less"
    if rule.multiple_of is not None:
        times = round(number / rule.multiple_of)
        if not _close(number, times * rule.multiple_of, rule.tolerance):
            nearest = max(times, 1) * rule.multiple_of
            return f"set {key} to a multiple of {rule.multiple_of:g}, such as {nearest:g}"
    if rule.power_of_two_times is not None:
        nearest = _nearest_power_of_two(number / rule.power_of_two_times) * rule.power_of_two_times
        if not _close(number, nearest, rule.tolerance):
            return f"set {key} to {nearest:g}, {rule.power_of_two_times:g} times a power of two"
    if rule.scales_with is not None or rule.sum_with is not None:
        return _formula_breach(rule, number, reference, candidate)
    return ""


def _formula_breach(
    rule: HyperparameterRule,
    number: float,
    reference: Mapping[str, Any],
    candidate: Mapping[str, Any],
) -> str:
    needed = [key for key in (rule.scales_with, rule.sum_with) if key is not None]
    for whose, side, keys in (
        ("the reference", reference, [rule.key, *needed]),
        ("the run", candidate, needed),
    ):
        for key in keys:
            if _number(side.get(key)) is None:
                return f"give {key} as a number in {whose}: {rule.key} is reckoned from it"
    expected, why = float(reference[rule.key]), f"the reference's {_shown(reference[rule.key])}"
    added = 0.0
    if rule.sum_with is not None:
        expected += float(reference[rule.sum_with])
        added = float(candidate[rule.sum_with])
        why += f" + {_shown(reference[rule.sum_with])} of {rule.sum_with}"
    if rule.scales_with is not None:
        ours, theirs = float(candidate[rule.scales_with]), float(reference[rule.scales_with])
        if ours <= 0 or theirs <= 0:
            return f"set {rule.scales_with} to a positive number: {rule.key} is reckoned from it"
        expected *= (ours / theirs) ** rule.power
        exponent = "" if rule.power == 1 else f" ^ {rule.power:g}"
        why += f" * ({ours:g} / {theirs:g}){exponent}, by {rule.scales_with}"
    if rule.rounded_up:
        # Without the margin, a product that is whole but for its last bit would be rounded one up.
        expected = float(math.ceil(expected * (1 - 1e-12)))
    if _close(number + added, expected, rule.tolerance):
        return ""
    within = f" within {rule.tolerance * 100:g} %" if rule.tolerance > 1e-4 else ""
    return f"set {rule.key} to {expected - added:.9g}{within} ({why})"


def _borrowed(lender: Mapping[str, Any], candidate: Mapping[str, Any], measurement: str) -> Check:
    """Whether hyperparameters are another entry's as a group, batch sizes apart."""
    absent = object()
    different = [
        key
        for key in dict.fromkeys([*lender, *candidate])
        if key not in BATCH_KEYS and not _equal(lender.get(key, absent), candidate.get(key, absent))
    ]
    shown = ", ".join(
        f"{key} {_shown(candidate[key]) if key in candidate else 'missing'} "
        f"instead of {_shown(lender[key]) if key in lender else 'none'}"
        for key in different
    )
    return Check(
        "hyperparameters_borrowed_as_a_group",
        not different,
        shown or "all as lent",
        "all of the other entry's hyperparameters, batch sizes apart",
        f"take over {', '.join(different)} as well" if different else "",
        measurement,
    )


def _number(value: Any) -> float | None:
    """A finite number as float; None for anything else, truth values included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _equal(one: Any, other: Any) -> bool:
    first, second = _number(one), _number(other)
    if first is not None and second is not None:
        return _close(first, second, SAME)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _close(one: float, other: float, tolerance: float) -> bool:
    if tolerance <= SAME and one.is_integer() and other.is_integer():
        return one == other
    return math.isclose(one, other, rel_tol=max(tolerance, SAME))


def _nearest_power_of_two(number: float) -> float:
    return 2.0 ** round(math.log2(number)) if number > 0 else 1.0


def _shown(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)

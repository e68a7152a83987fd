"""What a logged value must be: small frozen values that test one and that say themselves in words.

A formula is a function beside its words, with the keys whose values it takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeGuard

Known: TypeAlias = Mapping[str, Any]
"""First logged value of every key, and `evaluation`: the entry's place among those of its key, from 0."""


class Constraint(Protocol):
    """Something a value must be. Its text completes "must be ..."."""

    def holds(self, value: Any, known: Known) -> bool:
        """Whether it is."""


LARGEST = 10**308
SINGLE_PRECISION = 2.0**-23
"""Relative distance of neighbouring numbers in single precision."""


@dataclass(frozen=True)
class Is:
    """Exactly this value; numbers are compared as numbers."""

    value: Any

    def holds(self, value: Any, known: Known) -> bool:
        """Whether it is that value."""
        if isinstance(self.value, bool) or isinstance(value, bool):
            return value is self.value
        return bool(value == self.value)

    def __str__(self) -> str:
        return f"{self.value!r}"


@dataclass(frozen=True)
class OneOf:
    """One of these values."""

    values: tuple[Any, ...]

    def holds(self, value: Any, known: Known) -> bool:
        """Whether it is among them."""
        return not isinstance(value, dict | list) and value in self.values

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.values))}"


@dataclass(frozen=True)
class Range:
    """A number within bounds.

    Attributes:
        least: The number is at least this.
        most: It is at most this.
        above: It is greater.
        below: It is less.
        percent: Whether the bounds are fractions that may also be logged in percent. Rounds that do that
            logged in single precision too: the bound is met by the nearest such number below it.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    percent: bool = False

    def holds(self, value: Any, known: Known) -> bool:
        """Whether it is a number within them."""
        if not is_number(value):
            return False
        if self.percent:
            value = (value / 100 if value > 1 else value) * (1 + SINGLE_PRECISION)
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        words = [
            f"{word} {bound:g}"
            for word, bound in (
                ("at least", self.least),
                ("at most", self.most),
                ("greater than", self.above),
                ("less than", self.below),
            )
            if bound is not None
        ]
        return " and ".join(words) + (" (or that in percent)" if self.percent else "")


@dataclass(frozen=True)
class Parts:
    """Several numbers logged as one mapping or list, each at least its bound (box and mask mAP)."""

    least: Mapping[str, float]

    def holds(self, value: Any, known: Known) -> bool:
        """Whether every one of them is."""
        while isinstance(value, Mapping) and len(value) == 1 and len(self.least) > 1:
            (value,) = value.values()  # one submitter put the numbers a level deeper
        if isinstance(value, Mapping):
            found = [value.get(name) for name in self.least]
        else:
            found = list(value) if isinstance(value, list) else []
        if len(found) != len(self.least):
            return False
        pairs = zip(found, self.least.values(), strict=True)
        return all(is_number(one) and bool(one >= bound) for one, bound in pairs)

    def __str__(self) -> str:
        return " and ".join(f"{name} at least {bound:g}" for name, bound in self.least.items())


@dataclass(frozen=True)
class Whole:
    """A whole number, at least `least` if that is given."""

    least: int | None = None

    def holds(self, value: Any, known: Known) -> bool:
        """Whether it is."""
        whole = is_number(value) and math.isfinite(value) and value == round(value)
        return whole and (self.least is None or value >= self.least)

    def __str__(self) -> str:
        return "a whole number" + ("" if self.least is None else f" of at least {self.least}")


@dataclass(frozen=True)
class Said:
    """Something: neither an empty text nor null."""

    def holds(self, value: Any, known: Known) -> bool:
        """Whether there is something."""
        return value is not None and value != ""

    def __str__(self) -> str:
        return "something that is not empty"


@dataclass(frozen=True)
class Truth:
    """true or false."""

    def holds(self, value: Any, known: Known) -> bool:
        """Whether it is."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class NotEmptyList:
    """A list with something in it."""

    def holds(self, value: Any, known: Known) -> bool:
        """Whether it is."""
        return isinstance(value, list | str) and len(value) > 0

    def __str__(self) -> str:
        return "a list that is not empty"


@dataclass(frozen=True)
class Unstated:
    """Whatever nobody has said: no value is that."""

    words: str

    def holds(self, value: Any, known: Known) -> bool:
        """Never."""
        return False

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Follows:
    """A number that other logged numbers determine.

    Attributes:
        words: The formula as one reads it.
        inputs: The keys whose first values are its arguments, in order.
        formula: The same as a function; (low, high) bounds if it returns a pair.
        tolerance: Relative.
    """

    words: str
    inputs: tuple[str, ...]
    formula: Callable[..., float | tuple[float, float]] = field(compare=False)
    tolerance: float = 1e-9

    def holds(self, value: Any, known: Known) -> bool:
        """Whether it is what the formula gives; False if an input is missing."""
        arguments = [known.get(key) for key in self.inputs]
        if not is_number(value) or not all(map(is_number, arguments)):
            return False
        try:
            expected = self.formula(*arguments)
        except (ArithmeticError, ValueError):
            return False
        low, high = expected if isinstance(expected, tuple) else (expected, expected)
        slack = self.tolerance * max(abs(low), abs(high))
        return bool(low - slack <= value <= high + slack)

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class MultipleOf:
    """A number that is a whole multiple of one that other logged numbers determine."""

    words: str
    inputs: tuple[str, ...]
    formula: Callable[..., float] = field(compare=False)

    def holds(self, value: Any, known: Known) -> bool:
        """Whether it is; False if an input is missing."""
        arguments = [known.get(key) for key in self.inputs]
        if not is_number(value) or not all(map(is_number, arguments)):
            return False
        try:
            return bool(value % self.formula(*arguments) == 0)
        except (ArithmeticError, ValueError):
            return False

    def __str__(self) -> str:
        return f"a multiple of {self.words}"


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a logged value is a number that a float can hold; true and false are none."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < LARGEST
    return isinstance(value, float)

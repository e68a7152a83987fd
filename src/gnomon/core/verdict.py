"""Verdicts: what was required, what was found, and what to change.

A rule is a function that returns a `Check`. A `Verdict` is the list of them under one named rule
profile: VALID only if every one holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Check:
    """One rule applied to one measurement.

    Attributes:
        name: The rule, in snake case (`min_duration`).
        passed: Whether it holds.
        found: What the measurement has, as a person would write it (`8.21 s`).
        required: What the rule asks for (`at least 10 s`).
        why: If it failed, what to change; if it passed, empty or a remark.
        measurement: The measurement it judges; empty when it judges the whole run.
    """

    name: str
    passed: bool
    found: str
    required: str
    why: str = ""
    measurement: str = ""


@dataclass(frozen=True)
class Verdict:
    """All checks of a run under one rule profile.

    Attributes:
        profile: The rule profile that was applied (`quick`, `official`).
        checks: Every check, failed or not, in the order they were made.
        comparable: Whether the result may stand beside published ones: only an official-rules run
            on official data.
        remark: Why it may not, in words; empty if it may.
    """

    profile: str
    checks: tuple[Check, ...]
    comparable: bool = False
    remark: str = ""

    @property
    def valid(self) -> bool:
        """True if there is at least one check and every one holds."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def word(self) -> str:
        """`VALID` or `INVALID`."""
        return "VALID" if self.valid else "INVALID"

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.passed)

    def of(self, measurement: str) -> Verdict:
        """The verdict on one measurement alone."""
        checks = tuple(check for check in self.checks if check.measurement == measurement)
        return replace(self, checks=checks)

    def __str__(self) -> str:
        """The verdict in words, never without its profile."""
        text = f"{self.word} under {self.profile} rules"
        if self.valid and self.comparable:
            return f"{text}, comparable with published results"
        return text

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready form, with the verdict in words beside the checks."""
        return {
            "profile": self.profile,
            "valid": self.valid,
            "text": str(self),
            "comparable": self.comparable,
            "remark": self.remark,
            "checks": [asdict(check) for check in self.checks],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Verdict:
        """The inverse of `to_json`."""
        checks: Iterable[dict[str, Any]] = data["checks"]
        return cls(
            data["profile"],
            tuple(Check(**check) for check in checks),
            data["comparable"],
            data["remark"],
        )


def verdict_under(profile: str, checks: Iterable[Check], lacking: Sequence[str]) -> Verdict:
    """The verdict on these checks; comparable with published results if nothing is lacking for that.

    Args:
        profile: Whose rules they are.
        checks: On the run.
        lacking: Why the result may not stand beside published ones, in words.
    """
    if not lacking:
        return Verdict(profile, tuple(checks), comparable=True)
    listed = " and ".join(filter(None, (", ".join(lacking[:-1]), lacking[-1])))
    remark = f"not comparable with published results: {listed}"
    return Verdict(profile, tuple(checks), comparable=False, remark=remark)

"""What both of the field's logs say: validity in its own terms, its words, figures of the settings.

Conditions, wording and units are those of the reference load generator 6.0 (`results.cc`,
`test_settings_internal.cc`), because the field's parsers read them. Its advice to change an expected rate
is not among them, since none is needed here; errors stand among the recommendations instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from gnomon.loadgen.outcome import Outcome
from gnomon.loadgen.schedule import expected_samples, least_queries
from gnomon.loadgen.settings import NS_PER_S, Scenario, Settings

DEFAULT_STREAM_QPS = 10.0
"""Stands where the reference logs an expected rate, of which the stream scenarios here have none."""


@dataclass(frozen=True)
class LogContext:
    """What the logs name beside settings and figures."""

    system_name: str
    task_name: str
    gnomon_version: str
    started_at: datetime
    loaded_sets: tuple[NDArray[np.int64], ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FieldValidity:
    """The field's own four conditions, and whether the test had errors."""

    min_duration: bool
    min_queries: bool
    perf_constraints: bool
    early_stopping: bool
    errors: bool = False

    @property
    def valid(self) -> bool:
        """VALID in the field's sense; a test with errors never is."""
        return (
            self.min_duration
            and self.min_queries
            and self.perf_constraints
            and self.early_stopping
            and not self.errors
        )


def field_validity(outcome: Outcome, settings: Settings, *, errors: bool = False) -> FieldValidity:
    """Apply the conditions of the reference's `results.cc` to the figures."""
    offline = settings.scenario is Scenario.OFFLINE
    counted = outcome.sample_count if offline else outcome.query_count
    return FieldValidity(
        min_duration=outcome.duration_ns >= settings.min_duration_ns,
        min_queries=counted >= settings.min_query_count and not outcome.unanswered_count,
        perf_constraints=settings.scenario is not Scenario.SERVER
        or outcome.percentile_latency_ns <= settings.target_latency_ns,
        early_stopping=outcome.early_stopping is None or outcome.early_stopping.met,
        errors=errors,
    )


def recommendations(validity: FieldValidity, errors: tuple[str, ...]) -> list[str]:
    """What an INVALID test is told: what to change, then its errors."""
    words = []
    if not validity.perf_constraints:
        words.append("Reduce target QPS to improve latency.")
    if not validity.min_duration:
        words.append("The test ended before its minimum duration: let it run to its end.")
    if not validity.min_queries:
        words.append("The test ended before enough queries were answered: see the detail log.")
    return words + list(errors)


def early_stopping_lines(outcome: Outcome) -> list[str] | None:
    """The lines that the field's readers look for under `Early Stopping Result`."""
    early = outcome.early_stopping
    if early is None:
        return None
    if outcome.scenario is Scenario.SERVER:
        if early.met:
            return [" * Run successful."]
        return [
            " * Run unsuccessful.",
            f" * Processed {early.queries} queries.",
            f" * Would need to run at least {early.needed - early.queries} more queries,",
            " with the run being successful if every additional",
            " query were under latency.",
        ]
    if not early.met:
        return [
            f" * Only processed {early.queries} queries.",
            f" * Need to process at least {early.needed} queries for early stopping.",
        ]
    share = f"{100 * outcome.percentile:.1f}th percentile"
    lines = [
        f" * Processed at least {early.needed} queries ({early.queries}).",
        f" * Would discard {early.over} highest latency queries.",
        f" * Early stopping {share} estimate: {early.estimate_ns}",
    ]
    tail = outcome.early_stopping_99
    if tail is not None and tail.met:
        lines.append(f" * Early stopping 99.0th percentile estimate: {tail.estimate_ns}")
    elif tail is not None:
        lines += [
            " * Not enough queries processed for 99.0th percentile",
            " early stopping estimate (would need to process at",
            f" least {tail.needed} total queries).",
        ]
    return lines


def bare_rate(outcome: Outcome) -> float:
    """Queries a second if nothing lay between them."""
    return NS_PER_S / max(1, outcome.sample_latency.mean_ns)


def target_qps(settings: Settings) -> float:
    """The rate as the reference logs it, which always has one."""
    if settings.target_qps is not None:
        return settings.target_qps
    return DEFAULT_STREAM_QPS if settings.scenario.closed_loop else 1.0


def logged_query_minimum(settings: Settings) -> int:
    """The minimum as the reference logs it: one query in Offline, whole sets for equal issue."""
    if settings.scenario is Scenario.OFFLINE:
        return 1
    if settings.sample_concatenate_permutation and settings.scenario is Scenario.SINGLE_STREAM:
        return least_queries(settings, settings.performance_sample_count)
    return settings.min_query_count


def asked_samples_per_query(settings: Settings, outcome: Outcome | None) -> int:
    """Samples a query as the settings have it; what was generated may be padded to whole sets."""
    if settings.scenario is not Scenario.OFFLINE:
        return settings.samples_per_query
    if settings.performance_issue_unique:
        return settings.performance_sample_count
    if settings.target_qps is not None:
        return max(settings.min_query_count, expected_samples(settings))
    return generated_samples_per_query(settings, outcome)


def generated_samples_per_query(settings: Settings, outcome: Outcome | None) -> int:
    """Samples a query as they were issued."""
    if settings.scenario is not Scenario.OFFLINE:
        return settings.samples_per_query
    if outcome is None:
        return settings.min_query_count
    return outcome.sample_count + outcome.unanswered_count

"""The text of `mlperf_log_summary.txt`, line by line as the reference load generator lays it out."""

from __future__ import annotations

from typing import Any

from gnomon.loadgen.log_facts import (
    LogContext,
    asked_samples_per_query,
    bare_rate,
    early_stopping_lines,
    field_validity,
    logged_query_minimum,
    recommendations,
    target_qps,
)
from gnomon.loadgen.outcome import PERCENTILES, Outcome
from gnomon.loadgen.settings import NS_PER_MS, Scenario, Settings

RULE = "=" * 48


def summary_lines(settings: Settings, outcome: Outcome | None, context: LogContext) -> list[str]:
    """The summary of one test; of an accuracy test, which has no outcome, only the counts at its end."""
    lines: list[str] = []
    if outcome is not None:
        lines += _headed("MLPerf Results Summary")
        lines += [
            f"SUT name : {context.system_name}",
            f"Scenario : {settings.scenario.field_name}",
            f"Mode     : {settings.mode.field_name}",
            _headline(outcome),
            *_result_block(settings, outcome, context),
            "",
            *_headed("Additional Stats"),
            *_additional(outcome),
            "",
            *_headed("Test Parameters Used"),
            *(f"{name}{value}" for name, value in _parameters(settings, outcome)),
        ]
        if settings.sample_concatenate_permutation:
            lines += [
                "WARNING: sample_concatenate_permutation was set to true. ",
                "Generated samples per query might be different as the one in the setting.",
                "Check the generated_samples_per_query line in the detailed log for the real",
                "samples_per_query value",
            ]
    return [
        *lines,
        "",
        _count_line(context.warnings, "warning"),
        "",
        _count_line(context.errors, "error"),
    ]


def _headed(title: str) -> list[str]:
    return [RULE, title, RULE]


def _count_line(entries: tuple[str, ...], kind: str) -> str:
    if not entries:
        return f"No {kind}s encountered during test."
    noun = kind.upper() if kind == "error" else kind
    plural = "" if len(entries) == 1 else ("S" if kind == "error" else "s")
    return f"{len(entries)} {noun}{plural} encountered. See detailed log."


def _headline(outcome: Outcome) -> str:
    if outcome.scenario is Scenario.OFFLINE:
        return f"Samples per second: {outcome.samples_per_second:.6g}"
    if outcome.scenario is Scenario.SERVER:
        return f"Completed samples per second    : {outcome.samples_per_second:.2f}"
    share = f"{100 * outcome.percentile:.1f}"
    return f"{share}th percentile latency (ns) : {outcome.percentile_latency_ns}"


def _result_block(settings: Settings, outcome: Outcome, context: LogContext) -> list[str]:
    validity = field_validity(outcome, settings, errors=bool(context.errors))
    lines = [f"Result is : {'VALID' if validity.valid else 'INVALID'}"]
    if settings.scenario is Scenario.SERVER:
        lines.append(f"  Performance constraints satisfied : {_yes(validity.perf_constraints)}")
    lines += [
        f"  Min duration satisfied : {_yes(validity.min_duration)}",
        f"  Min queries satisfied : {_yes(validity.min_queries)}",
        f"  Early stopping satisfied: {_yes(validity.early_stopping)}",
    ]
    if not validity.valid:
        lines.append("Recommendations:")
        lines += [f" * {words}" for words in recommendations(validity, context.errors)]
    early = early_stopping_lines(outcome)
    if early is not None:
        lines += ["Early Stopping Result:", *early]
    return lines


def _yes(satisfied: bool) -> str:
    return "Yes" if satisfied else "NO"


def _additional(outcome: Outcome) -> list[str]:
    lines: list[str] = []
    if outcome.scenario is Scenario.SINGLE_STREAM:
        lines += [
            f"QPS w/ loadgen overhead         : {outcome.queries_per_second:.2f}",
            f"QPS w/o loadgen overhead        : {bare_rate(outcome):.2f}",
            "",
        ]
    elif outcome.scenario is Scenario.SERVER:
        lines.append(f"Scheduled samples per second : {outcome.scheduled_samples_per_second:.2f}")
    elif outcome.scenario is Scenario.MULTI_STREAM:
        lines.append("Per-query latency:  ")
    latency = outcome.query_latency
    lines += [
        f"Min latency (ns)                : {latency.min_ns}",
        f"Max latency (ns)                : {latency.max_ns}",
        f"Mean latency (ns)               : {latency.mean_ns}",
    ]
    for share, value in zip(PERCENTILES, latency.percentiles_ns, strict=True):
        lines.append(f"{100 * share:.2f} percentile latency (ns)   : {value}")
    return lines


def _parameters(settings: Settings, outcome: Outcome) -> list[tuple[str, Any]]:
    server = settings.scenario is Scenario.SERVER
    return [
        ("samples_per_query : ", asked_samples_per_query(settings, outcome)),
        ("target_qps : ", f"{target_qps(settings):.6g}"),
        ("target_latency (ns): ", settings.target_latency_ns),
        ("max_async_queries : ", settings.max_async_queries if server else 1),
        ("min_duration (ms): ", settings.min_duration_ns // NS_PER_MS),
        ("max_duration (ms): ", settings.max_duration_ns // NS_PER_MS),
        ("min_query_count : ", logged_query_minimum(settings)),
        ("max_query_count : ", settings.max_query_count),
        ("qsl_rng_seed : ", settings.seeds.qsl),
        ("sample_index_rng_seed : ", settings.seeds.sample_index),
        ("schedule_rng_seed : ", settings.seeds.schedule),
        ("accuracy_log_rng_seed : ", 0),
        ("accuracy_log_probability : ", 0),
        ("accuracy_log_sampling_target : ", 0),
        ("print_timestamps : ", 0),
        ("performance_issue_unique : ", int(settings.performance_issue_unique)),
        ("performance_issue_same : ", int(settings.performance_issue_same)),
        ("performance_issue_same_index : ", settings.performance_issue_same_index),
        ("performance_sample_count : ", settings.performance_sample_count),
        ("accuracy_sample_count : ", settings.total_sample_count),
    ]

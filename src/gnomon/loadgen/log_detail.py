"""The entries of `mlperf_log_detail.txt`: the reference load generator's keys, in its order and units.

`loadgen_version` says that Gnomon wrote them. Left out is what only the reference's own build and logger
have: build dates, file hashes, `logger_*` counters, `get_sut_name_duration_ns`; and of an accuracy test
there is one pair of `power_begin` and `power_end`, not one a loaded set.
"""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from typing import Any

from gnomon.core.mllog import LogLine
from gnomon.loadgen.log_facts import (
    LogContext,
    asked_samples_per_query,
    bare_rate,
    early_stopping_lines,
    field_validity,
    generated_samples_per_query,
    logged_query_minimum,
    recommendations,
    target_qps,
)
from gnomon.loadgen.outcome import PERCENTILES, Latencies, Outcome
from gnomon.loadgen.settings import NS_PER_MS, NS_PER_S, Mode, Scenario, Settings


def detail_lines(settings: Settings, outcome: Outcome | None, context: LogContext) -> list[LogLine]:
    """The detail log of one test; `outcome` is None for accuracy tests."""
    end_ms = (outcome.final_query_completed_ns if outcome else 0) / NS_PER_MS
    lines: list[LogLine] = []

    def log(key: str, value: Any, *, at_ms: float = 0.0, **flags: bool) -> None:
        metadata = {
            "is_error": flags.get("is_error", False),
            "is_warning": flags.get("is_warning", False),
            "file": "log_detail.py",
            "line_no": 0,
            "pid": os.getpid(),
            "tid": threading.get_native_id(),
        }
        lines.append(LogLine(key, value, at_ms, metadata))

    log("loadgen_version", f"gnomon {context.gnomon_version}")
    log("test_datetime", f"{context.started_at:%Y-%m-%dT%H:%M:%SZ}")
    log("sut_name", context.system_name)
    log("qsl_name", context.task_name)
    log("qsl_reported_total_count", settings.total_sample_count)
    log("qsl_reported_performance_count", settings.performance_sample_count)
    for key, value in _requested(settings):
        log(f"requested_{key}", value)
    for key, value in _effective(settings, outcome):
        log(f"effective_{key}", value)
    log("generic_message", f"Starting {settings.mode} mode")
    for loaded in context.loaded_sets:
        log("loaded_qsl_set", loaded.tolist())
        if settings.mode is Mode.ACCURACY:
            offline = settings.scenario is Scenario.OFFLINE
            width = len(loaded) if offline else settings.samples_per_query
            log("generated_query_count", len(loaded) // width)
            log("generated_samples_per_query", width)
            log("generated_query_duration", 0)
    if outcome is not None:
        log("generated_query_count", outcome.query_count)
        log("generated_samples_per_query", generated_samples_per_query(settings, outcome))
        log("generated_query_duration", outcome.final_query_scheduled_ns)
    if outcome is not None and not context.errors and settings.scenario is not Scenario.SERVER:
        log("generic_message", "Ending naturally: Minimum query count and test duration met.")
    for words in context.errors:
        log("error_runtime", words, at_ms=end_ms, is_error=True)
    for words in context.warnings:
        log("warning_generic_message", words, at_ms=end_ms, is_warning=True)
    ended_at = context.started_at + timedelta(milliseconds=end_ms)
    log("power_begin", f"{context.started_at:%m-%d-%Y %H:%M:%S.%f}"[:-3], at_ms=end_ms)
    log("power_end", f"{ended_at:%m-%d-%Y %H:%M:%S.%f}"[:-3], at_ms=end_ms)
    if outcome is not None:
        for key, value in result_entries(settings, outcome, context.errors):
            log(key, value, at_ms=end_ms)
        log("num_errors", len(context.errors), at_ms=end_ms)
    return lines


def _requested(settings: Settings) -> list[tuple[str, Any]]:
    rate, share = target_qps(settings), settings.target_latency_percentile
    expected_ns = NS_PER_S / rate
    own: dict[Scenario, list[tuple[str, Any]]] = {
        Scenario.SINGLE_STREAM: [
            ("single_stream_expected_latency_ns", expected_ns),
            ("single_stream_target_latency_percentile", share),
        ],
        Scenario.MULTI_STREAM: [
            ("multi_stream_expected_latency_ns", expected_ns),
            ("multi_stream_target_latency_percentile", share),
            ("multi_stream_samples_per_query", settings.samples_per_query),
        ],
        Scenario.SERVER: [
            ("server_target_qps", rate),
            ("server_target_latency_ns", settings.target_latency_ns),
            ("server_target_latency_percentile", share),
            ("server_coalesce_queries", settings.server_coalesce_queries),
            ("server_find_peak_qps_decimals_of_precision", 1),
            ("server_find_peak_qps_boundary_step_size", 1),
            ("server_max_async_queries", settings.max_async_queries),
            ("server_num_issue_query_threads", 0),
        ],
        Scenario.OFFLINE: [("offline_expected_qps", rate)],
    }
    return [
        ("scenario", settings.scenario.field_name),
        ("test_mode", settings.mode.field_name),
        *own[settings.scenario],
        ("min_duration_ms", settings.min_duration_ns // NS_PER_MS),
        ("max_duration_ms", settings.max_duration_ns // NS_PER_MS),
        ("min_query_count", settings.min_query_count),
        ("max_query_count", settings.max_query_count),
        *_seeds_and_switches(settings),
        ("performance_sample_count_override", 0),
        ("accuracy_sample_count_override", 0),
        ("sample_concatenate_permutation", settings.sample_concatenate_permutation),
    ]


def _effective(settings: Settings, outcome: Outcome | None) -> list[tuple[str, Any]]:
    offline = settings.scenario is Scenario.OFFLINE
    server = settings.scenario is Scenario.SERVER
    samples_per_query = asked_samples_per_query(settings, outcome)
    least = logged_query_minimum(settings)
    least_samples = least * samples_per_query
    minimum_ms = settings.min_duration_ns // NS_PER_MS
    return [
        ("scenario", settings.scenario.field_name),
        ("test_mode", settings.mode.field_name),
        ("samples_per_query", samples_per_query),
        ("target_qps", target_qps(settings)),
        ("target_latency_ns", settings.target_latency_ns),
        ("target_latency_percentile", settings.target_latency_percentile),
        ("max_async_queries", settings.max_async_queries if server else 1),
        ("target_duration_ms", 0 if offline else minimum_ms),
        ("min_duration_ms", minimum_ms),
        ("max_duration_ms", settings.max_duration_ns // NS_PER_MS),
        ("min_query_count", least),
        ("max_query_count", settings.max_query_count),
        ("min_sample_count", least_samples),
        *_seeds_and_switches(settings),
        ("performance_sample_count", settings.performance_sample_count),
        ("accuracy_sample_count", settings.total_sample_count),
        ("sample_concatenate_permutation", settings.sample_concatenate_permutation),
    ]


def _seeds_and_switches(settings: Settings) -> list[tuple[str, Any]]:
    return [
        ("qsl_rng_seed", settings.seeds.qsl),
        ("sample_index_rng_seed", settings.seeds.sample_index),
        ("schedule_rng_seed", settings.seeds.schedule),
        ("accuracy_log_rng_seed", 0),
        ("accuracy_log_probability", 0),
        ("accuracy_log_sampling_target", 0),
        ("print_timestamps", False),
        ("performance_issue_unique", settings.performance_issue_unique),
        ("performance_issue_same", settings.performance_issue_same),
        ("performance_issue_same_index", settings.performance_issue_same_index),
    ]


def result_entries(
    settings: Settings, outcome: Outcome, errors: tuple[str, ...]
) -> list[tuple[str, Any]]:
    """The entries with the test's results, (key, value) in order."""
    validity = field_validity(outcome, settings, errors=bool(errors))
    lines: list[tuple[str, Any]] = [("result_validity", "VALID" if validity.valid else "INVALID")]
    if settings.scenario is Scenario.SERVER:
        lines.append(("result_perf_constraints_met", validity.perf_constraints))
    lines += [
        ("result_min_duration_met", validity.min_duration),
        ("result_min_queries_met", validity.min_queries),
        ("early_stopping_met", validity.early_stopping),
    ]
    if not validity.valid:
        reason = "".join(f"{words} " for words in recommendations(validity, errors))
        lines.append(("result_invalid_reason", reason))
    lines.append(("early_stopping_result", " ".join(early_stopping_lines(outcome) or [])))
    lines.append(("result_query_count", outcome.query_count))
    early_ns = outcome.early_stopping.estimate_ns if outcome.early_stopping else None
    if settings.scenario is Scenario.SINGLE_STREAM:
        tail = outcome.early_stopping_99
        lines += [
            ("result_qps_with_loadgen_overhead", outcome.queries_per_second),
            ("result_qps_without_loadgen_overhead", bare_rate(outcome)),
            ("early_stopping_latency_ss", early_ns or 0),
            # The reference gives this one only beside the other.
            ("early_stopping_latency_ms", (tail.estimate_ns if tail and early_ns else None) or 0),
        ]
    elif settings.scenario is Scenario.MULTI_STREAM:
        lines += _latency_lines(outcome.query_latency, "query_latency_ns", "per_query_latency_ns")
        lines.append(("early_stopping_latency_ms", early_ns or 0))
    elif settings.scenario is Scenario.SERVER:
        lines += [
            ("result_overlatency_query_count", outcome.over_bound_count),
            ("result_scheduled_samples_per_sec", outcome.scheduled_samples_per_second),
            ("result_completed_samples_per_sec", outcome.samples_per_second),
        ]
    else:
        lines.append(("result_samples_per_second", outcome.samples_per_second))
    return lines + _latency_lines(outcome.sample_latency, "latency_ns", "latency_ns")


def _latency_lines(latency: Latencies, plain: str, ranked: str) -> list[tuple[str, Any]]:
    return [
        (f"result_min_{plain}", latency.min_ns),
        (f"result_max_{plain}", latency.max_ns),
        (f"result_mean_{plain}", latency.mean_ns),
        *(
            (f"result_{100 * share:.2f}_percentile_{ranked}", value)
            for share, value in zip(PERCENTILES, latency.percentiles_ns, strict=True)
        ),
    ]

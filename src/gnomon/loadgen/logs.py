"""Write the files of the field: `mlperf_log_summary.txt` and `mlperf_log_detail.txt`.

Layout, keys and units are those of the reference load generator 6.0 (`results.cc`,
`test_settings_internal.cc`), because the field's parsers read them; the accuracy log has a module of its
own. `loadgen_version` says that Gnomon wrote them. Left out is what only the reference's own build and
logger have: build dates, file hashes, `logger_*` counters, `get_sut_name_duration_ns`.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import RunFolderError
from gnomon.core.files import write_atomically
from gnomon.core.mllog import LogLine, format_line
from gnomon.loadgen.outcome import PERCENTILES, Latencies, Outcome
from gnomon.loadgen.settings import NS_PER_MS, NS_PER_S, Mode, Scenario, Settings

SUMMARY_FILE = "mlperf_log_summary.txt"
DETAIL_FILE = "mlperf_log_detail.txt"
DEFAULT_STREAM_QPS = 10.0
"""The reference's rate where none is expected: a default expected latency of 100 ms."""
RULE = "=" * 48


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


def write_logs(
    folder: Path, settings: Settings, outcome: Outcome | None, context: LogContext
) -> None:
    """Write summary and detail log of one test; `outcome` is None for accuracy tests.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    summary = "\n".join(_summary(settings, outcome, context)) + "\n"
    detail = "\n".join(format_line(line) for line in _detail(settings, outcome, context)) + "\n"
    try:
        write_atomically(folder / SUMMARY_FILE, summary.encode())
        write_atomically(folder / DETAIL_FILE, detail.encode())
        if settings.mode is Mode.PERFORMANCE:
            write_atomically(folder / "mlperf_log_accuracy.json", b"[\n]\n")
    except OSError as error:
        raise RunFolderError(
            f"cannot write {folder}: {error.strerror}; make room or choose another folder with --out"
        ) from None


# --- the summary ------------------------------------------------------------------------------------


def _summary(settings: Settings, outcome: Outcome | None, context: LogContext) -> list[str]:
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
            lines.append("WARNING: sample_concatenate_permutation was set to true. ")
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
        lines += [f" * {words}" for words in _recommendations(settings, validity, context)]
    early = _early_stopping_text(outcome)
    if early is not None:
        lines += ["Early Stopping Result:", *early]
    return lines


def _yes(satisfied: bool) -> str:
    return "Yes" if satisfied else "NO"


def _recommendations(settings: Settings, validity: FieldValidity, context: LogContext) -> list[str]:
    words = []
    if not validity.perf_constraints:
        words.append("Reduce target QPS to improve latency.")
    if not validity.min_duration:
        words.append("The test ended before its minimum duration: let it run to its end.")
    if not validity.min_queries:
        words.append("The test ended before enough queries were answered: see the detail log.")
    return words + list(context.errors)


def _early_stopping_text(outcome: Outcome) -> list[str] | None:
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


def _additional(outcome: Outcome) -> list[str]:
    lines: list[str] = []
    if outcome.scenario is Scenario.SINGLE_STREAM:
        lines += [
            f"QPS w/ loadgen overhead         : {outcome.queries_per_second:.2f}",
            f"QPS w/o loadgen overhead        : {_bare_rate(outcome):.2f}",
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


def _bare_rate(outcome: Outcome) -> float:
    return NS_PER_S / max(1, outcome.sample_latency.mean_ns)


# --- the parameters, shared by both files -----------------------------------------------------------


def _target_qps(settings: Settings) -> float:
    if settings.target_qps is not None:
        return settings.target_qps
    return DEFAULT_STREAM_QPS if settings.scenario.closed_loop else 1.0


def _samples_per_query(settings: Settings, outcome: Outcome | None) -> int:
    if settings.scenario is not Scenario.OFFLINE:
        return settings.samples_per_query
    if outcome is None:
        return settings.min_query_count
    return outcome.sample_count + outcome.unanswered_count


def _parameters(settings: Settings, outcome: Outcome) -> list[tuple[str, Any]]:
    offline = settings.scenario is Scenario.OFFLINE
    server = settings.scenario is Scenario.SERVER
    return [
        ("samples_per_query : ", _samples_per_query(settings, outcome)),
        ("target_qps : ", f"{_target_qps(settings):.6g}"),
        ("target_latency (ns): ", settings.target_latency_ns),
        ("max_async_queries : ", settings.max_async_queries if server else 1),
        ("min_duration (ms): ", settings.min_duration_ns // NS_PER_MS),
        ("max_duration (ms): ", settings.max_duration_ns // NS_PER_MS),
        ("min_query_count : ", 1 if offline else settings.min_query_count),
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


# --- the detail log ---------------------------------------------------------------------------------


def _detail(settings: Settings, outcome: Outcome | None, context: LogContext) -> list[LogLine]:
    end_ms = (outcome.final_query_completed_ns if outcome else 0) / NS_PER_MS
    lines: list[LogLine] = []

    def log(key: str, value: Any, *, at_ms: float = 0.0, **flags: bool) -> None:
        metadata = {
            "is_error": flags.get("is_error", False),
            "is_warning": flags.get("is_warning", False),
            "file": "logs.py",
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
    if outcome is not None:
        log("generated_query_count", outcome.query_count)
        log("generated_samples_per_query", _samples_per_query(settings, outcome))
        log("generated_query_duration", outcome.final_query_scheduled_ns)
    for words in context.errors:
        log("error_runtime", words, at_ms=end_ms, is_error=True)
    for words in context.warnings:
        log("warning_generic_message", words, at_ms=end_ms, is_warning=True)
    ended_at = context.started_at + timedelta(milliseconds=end_ms)
    log("power_begin", f"{context.started_at:%m-%d-%Y %H:%M:%S.%f}"[:-3], at_ms=end_ms)
    log("power_end", f"{ended_at:%m-%d-%Y %H:%M:%S.%f}"[:-3], at_ms=end_ms)
    if outcome is not None:
        for key, value in _results(settings, outcome, context):
            log(key, value, at_ms=end_ms)
        log("num_errors", len(context.errors), at_ms=end_ms)
    return lines


def _requested(settings: Settings) -> list[tuple[str, Any]]:
    rate, share = _target_qps(settings), settings.target_latency_percentile
    expected_ns = round(NS_PER_S / rate)
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
    samples_per_query = _samples_per_query(settings, outcome)
    least = 1 if offline else settings.min_query_count
    least_samples = settings.min_query_count * settings.samples_per_query
    minimum_ms = settings.min_duration_ns // NS_PER_MS
    return [
        ("scenario", settings.scenario.field_name),
        ("test_mode", settings.mode.field_name),
        ("samples_per_query", samples_per_query),
        ("target_qps", _target_qps(settings)),
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


def _results(settings: Settings, outcome: Outcome, context: LogContext) -> list[tuple[str, Any]]:
    validity = field_validity(outcome, settings, errors=bool(context.errors))
    lines: list[tuple[str, Any]] = [("result_validity", "VALID" if validity.valid else "INVALID")]
    if settings.scenario is Scenario.SERVER:
        lines.append(("result_perf_constraints_met", validity.perf_constraints))
    lines += [
        ("result_min_duration_met", validity.min_duration),
        ("result_min_queries_met", validity.min_queries),
        ("early_stopping_met", validity.early_stopping),
    ]
    if not validity.valid:
        reason = " ".join(_recommendations(settings, validity, context))
        lines.append(("result_invalid_reason", reason))
    lines.append(("early_stopping_result", " ".join(_early_stopping_text(outcome) or [])))
    lines.append(("result_query_count", outcome.query_count))
    early_ns = outcome.early_stopping.estimate_ns if outcome.early_stopping else None
    if settings.scenario is Scenario.SINGLE_STREAM:
        tail = outcome.early_stopping_99
        lines += [
            ("result_qps_with_loadgen_overhead", outcome.queries_per_second),
            ("result_qps_without_loadgen_overhead", _bare_rate(outcome)),
            ("early_stopping_latency_ss", early_ns or 0),
            ("early_stopping_latency_ms", (tail.estimate_ns if tail else None) or 0),
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

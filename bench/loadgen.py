"""This load generator beside the reference wheel: null system, in turn, several rounds, medians.

    python bench/loadgen.py [--rounds 5] [--json loadgen.json] [--only single-stream,server,...]

Each figure is measured with both generators one after the other in every round, so that a machine that
drifts drifts for both; quoted are the medians and the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import describe_machine
from reference import run_reference

from gnomon.core.task import DataSource, Task
from gnomon.loadgen.find_peak import Probe, find_peak
from gnomon.loadgen.measure import measure
from gnomon.loadgen.outcome import compute_outcome
from gnomon.loadgen.rules import PROFILES, performance_checks
from gnomon.loadgen.settings import Scenario, Settings
from gnomon.systems.null import NullSystem

SAMPLES = 1024
QUERIES = 300_000
SERVER_QPS = 100_000.0
OFFLINE_SAMPLES = 5_000_000
LOGGED_SAMPLES = 1_000_000
BOUND_NS = 10_000_000
PEAK_DURATION_S = 2.0
PEAK_PRECISION = 0.05


class Indices(Task):
    """The null task: an input is its index."""

    name = "indices"
    metric = "none"

    def __len__(self) -> int:
        return SAMPLES

    def source(self) -> DataSource:
        return DataSource("indices", official=False, sha256="")

    def inputs(self, samples):
        return samples

    def score(self, samples, outputs):
        return 1.0


def settings(scenario: Scenario, **changes) -> Settings:
    defaults = {
        "scenario": scenario,
        "total_sample_count": SAMPLES,
        "performance_sample_count": SAMPLES,
        "min_duration_ns": 0,
        "target_latency_ns": BOUND_NS if scenario is Scenario.SERVER else 0,
    }
    return Settings(**(defaults | changes))


def run_gnomon(asked: Settings):
    """One test, in a folder that is thrown away; its figures and its faults."""
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(NullSystem(), Indices(), asked, Path(folder))
    outcome = compute_outcome(measured.samples, asked)
    assert outcome is not None
    return outcome, measured.faults


# --- the figures: each returns (ours, theirs) for one round ---------------------------------------


def single_stream() -> dict[str, tuple[float, float]]:
    """Cost a query in all, in µs: the inverse of the rate both report."""
    outcome, _ = run_gnomon(settings(Scenario.SINGLE_STREAM, min_query_count=QUERIES))
    theirs = run_reference("single-stream", queries=QUERIES, target_qps=1000)
    return {
        "single-stream, cost a query (µs)": (
            1e6 / outcome.queries_per_second,
            1e6 / theirs.figure("QPS w/ loadgen overhead"),
        ),
        "single-stream, reported p50 (µs)": (
            outcome.query_latency.percentiles_ns[0] / 1e3,
            theirs.figure("50.00 percentile latency (ns)") / 1e3,
        ),
    }


def server() -> dict[str, tuple[float, float]]:
    """Latency that the generator adds at 100,000 queries/s, in µs."""
    outcome, _ = run_gnomon(
        settings(Scenario.SERVER, target_qps=SERVER_QPS, min_duration_ns=2_000_000_000)
    )
    theirs = run_reference("server", target_qps=SERVER_QPS, duration_ms=2000)
    return {
        f"server at {SERVER_QPS:,.0f}/s, median added latency (µs)": (
            outcome.query_latency.percentiles_ns[0] / 1e3,
            theirs.figure("50.00 percentile latency (ns)") / 1e3,
        ),
        f"server at {SERVER_QPS:,.0f}/s, p99 added latency (µs)": (
            outcome.query_latency.percentiles_ns[4] / 1e3,
            theirs.figure("99.00 percentile latency (ns)") / 1e3,
        ),
    }


def peak() -> dict[str, tuple[float, float]]:
    """Highest VALID Server rate under a 10 ms bound, by the same search for both."""
    duration_ns = int(PEAK_DURATION_S * 1e9)

    def ours(target_qps: float, _confirm: bool) -> Probe:
        asked = settings(Scenario.SERVER, target_qps=target_qps, min_duration_ns=duration_ns)
        outcome, faults = run_gnomon(asked)
        checks = performance_checks(outcome, asked, PROFILES["quick"], faults, "server")
        return Probe(target_qps, all(c.passed for c in checks), None, None, "server")

    def theirs(target_qps: float, _confirm: bool) -> Probe:
        result = run_reference(
            "server",
            target_qps=target_qps,
            duration_ms=int(PEAK_DURATION_S * 1000),
            target_latency_ns=BOUND_NS,
        )
        return Probe(target_qps, result.valid, None, None, "server")

    def highest(probe: Callable[[float, bool], Probe], start_qps: float) -> float:
        confirmed, _ = find_peak(start_qps, probe, PEAK_PRECISION)
        return confirmed.target_qps if confirmed.valid else float("nan")

    return {
        "highest VALID server rate (1,000/s)": (
            highest(ours, 1_000_000) / 1e3,
            highest(theirs, 100_000) / 1e3,
        )
    }


def offline() -> dict[str, tuple[float, float]]:
    """Rate, and memory a sample: each in a process of its own, for its high-water mark."""
    figures = {}
    for which in ("gnomon", "reference"):
        output = subprocess.run(
            [sys.executable, __file__, "--offline-child", which],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        figures[which] = json.loads(output.splitlines()[-1])
    ours, theirs = figures["gnomon"], figures["reference"]
    return {
        "offline, samples/s (millions)": (ours["rate"] / 1e6, theirs["rate"] / 1e6),
        "offline, memory a sample (bytes)": (ours["bytes"], theirs["bytes"]),
    }


def offline_child(which: str) -> None:
    """One Offline test in this process; prints the rate and the growth of its peak memory."""
    small, large = 100_000, OFFLINE_SAMPLES

    def run(count: int) -> float:
        if which == "gnomon":
            outcome, _ = run_gnomon(
                settings(Scenario.OFFLINE, target_qps=1.0, min_query_count=count)
            )
            return outcome.samples_per_second
        return run_reference("offline", queries=count, target_qps=1.0).figure("Samples per second")

    run(small)  # what loading the libraries costs is not a cost a sample
    before = _peak_bytes()
    rate = run(large)
    print(json.dumps({"rate": rate, "bytes": (_peak_bytes() - before) / large}))


def _peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM: this figure needs Linux")


def logs() -> dict[str, tuple[float, float]]:
    """From the last completion of 1,000,000 samples to the end of writing, in s.

    Both keep a record of every sample: ours Parquet, the reference's its trace.
    """
    from datetime import UTC, datetime

    from gnomon.loadgen.log_facts import LogContext
    from gnomon.loadgen.logs import write_logs

    asked = settings(Scenario.OFFLINE, target_qps=1.0, min_query_count=LOGGED_SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(NullSystem(), Indices(), asked, Path(folder))
        outcome = compute_outcome(measured.samples, asked)
        write_logs(
            Path(folder),
            asked,
            outcome,
            LogContext("null", "indices", "bench", datetime.now(UTC), measured.loaded_sets),
        )
        last_completion_s = measured.started_at.timestamp() + outcome.sample_latency.max_ns / 1e9
        ours = time.time() - last_completion_s
    figures = {}
    for trace in (True, False):
        result = run_reference("offline", queries=LOGGED_SAMPLES, target_qps=1.0, trace=trace)
        figures[trace] = time.perf_counter() - result.last_completion_s
    return {
        "logs of 1,000,000 samples, with a record of each (s)": (ours, figures[True]),
        "the same, the reference without its trace (s)": (ours, figures[False]),
    }


FIGURES: dict[str, tuple[Callable[[], dict[str, tuple[float, float]]], int]] = {
    # name: (function, most rounds)
    "single-stream": (single_stream, 99),
    "server": (server, 99),
    "offline": (offline, 99),
    "logs": (logs, 99),
    "peak": (peak, 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--only", help=f"comma-separated: {', '.join(FIGURES)}")
    parser.add_argument("--offline-child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.offline_child:
        offline_child(arguments.offline_child)
        return
    chosen = arguments.only.split(",") if arguments.only else list(FIGURES)
    rounds: dict[str, list[tuple[float, float]]] = {}
    for number in range(arguments.rounds):
        for name in chosen:
            function, most = FIGURES[name]
            if number >= most:
                continue
            for label, pair in function().items():
                rounds.setdefault(label, []).append(pair)
            print(f"round {number + 1}: {name} done", file=sys.stderr)
    rows = []
    for label, pairs in rounds.items():
        # A search whose confirming tests all failed has no figure: that round is left out, and told.
        whole = [pair for pair in pairs if np.isfinite(pair).all()]
        if len(whole) < len(pairs):
            print(f"{label}: {len(pairs) - len(whole)} of {len(pairs)} rounds left out: {pairs}")
        ours, theirs = np.array(whole).T
        rows.append(
            {
                "figure": label,
                "gnomon": statistics.median(ours),
                "reference": statistics.median(theirs),
                "ratio": statistics.median(ours / theirs),
                "ratios": [float(ratio) for ratio in ours / theirs],
            }
        )
    machine = describe_machine()
    print(machine["text"])
    print(f"{'figure':<58}{'gnomon':>12}{'reference':>12}{'ratio':>9}   rounds' ratios")
    for row in rows:
        spread = f"{min(row['ratios']):.3g} to {max(row['ratios']):.3g}"
        print(
            f"{row['figure']:<58}{row['gnomon']:>12.4g}{row['reference']:>12.4g}"
            f"{row['ratio']:>9.3g}   {spread}"
        )
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine, "figures": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()

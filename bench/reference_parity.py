"""Server runs of digits on ONNX Runtime: this load generator and the reference wheel, the same model.

    python bench/reference_parity.py [--rounds 5] [--json reference_parity.json]

Both issue the same samples at the same nanoseconds from the same seeds to the same session, one sample a
call, in turn. Compared are p99 and verdict; besides, how late each generator's own issuing is, measured on a
null system at the same rates, because that lateness is part of what each reports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
from machine import describe_machine
from reference import null_issue, predicting_issue, run_reference

from gnomon.loadgen.measure import measure
from gnomon.loadgen.outcome import compute_outcome
from gnomon.loadgen.rules import PROFILES, performance_checks
from gnomon.loadgen.settings import Scenario, Settings
from gnomon.loadgen.system import System
from gnomon.systems.null import NullSystem
from gnomon.systems.onnx import OnnxSystem
from gnomon.tasks.digits import Digits

RATES = (500.0, 2_000.0, 10_000.0, 100_000.0)
"""The last is beyond what one sample a call can serve: both must say INVALID."""
DURATION_S = 3.0
BOUND_NS = 10_000_000


def ours(system: System, task: Digits, target_qps: float) -> tuple[float, float, bool]:
    """p50 and p99 in µs, and whether the test is VALID."""
    settings = Settings(
        scenario=Scenario.SERVER,
        total_sample_count=len(task),
        performance_sample_count=len(task),
        target_qps=target_qps,
        min_duration_ns=int(DURATION_S * 1e9),
        target_latency_ns=BOUND_NS,
    )
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(system, task, settings, Path(folder))
    outcome = compute_outcome(measured.samples, settings)
    checks = performance_checks(outcome, settings, PROFILES["quick"], measured.faults, "server")
    assert outcome is not None
    p50_ns, p99_ns = (
        outcome.query_latency.percentiles_ns[0],
        outcome.query_latency.percentiles_ns[4],
    )
    return p50_ns / 1e3, p99_ns / 1e3, all(check.passed for check in checks)


def theirs(issue, task: Digits, target_qps: float) -> tuple[float, float, bool]:
    """The same from the reference."""
    result = run_reference(
        "server",
        issue=issue,
        samples=len(task),
        duration_ms=int(DURATION_S * 1000),
        target_qps=target_qps,
        target_latency_ns=BOUND_NS,
    )
    p50_ns = result.figure("50.00 percentile latency (ns)")
    p99_ns = result.figure("99.00 percentile latency (ns)")
    return p50_ns / 1e3, p99_ns / 1e3, result.valid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    task = Digits()
    system = OnnxSystem(batch_size=1)
    system.load(task, np.arange(len(task)))
    issue = predicting_issue(system.predict)
    found: dict[tuple[str, float], list[tuple]] = {}
    for _ in range(arguments.rounds):
        for rate in RATES:
            found.setdefault(("digits", rate), []).append(
                (ours(system, task, rate), theirs(issue, task, rate))
            )
            if rate != RATES[-1]:
                found.setdefault(("null", rate), []).append(
                    (ours(NullSystem(1), task, rate), theirs(null_issue, task, rate))
                )
    rows = []
    for (model, rate), pairs in found.items():
        row = {"model": model, "rate": rate, "rounds": pairs}
        for index, name in enumerate(("gnomon", "reference")):
            sides = [pair[index] for pair in pairs]
            row[name] = {
                "p50_us": statistics.median(side[0] for side in sides),
                "p99_us": statistics.median(side[1] for side in sides),
                "p99_range_us": [min(side[1] for side in sides), max(side[1] for side in sides)],
                "valid": sum(side[2] for side in sides),
            }
        rows.append(row)
    machine = describe_machine()
    print(machine["text"])
    print(
        f"{'system':<8}{'rate':>9}  {'generator':<11}{'p50 (µs)':>10}{'p99 (µs)':>12}"
        f"{'p99 of rounds':>26}{'VALID':>10}"
    )
    for row in rows:
        for name in ("gnomon", "reference"):
            side = row[name]
            low, high = side["p99_range_us"]
            print(
                f"{row['model']:<8}{row['rate']:>9,.0f}  {name:<11}{side['p50_us']:>10.1f}"
                f"{side['p99_us']:>12.1f}{f'{low:,.0f} to {high:,.0f}':>26}"
                f"{side['valid']:>6} of {len(row['rounds'])}"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()

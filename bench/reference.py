"""The peer: the reference load generator's wheel (`mlcommons-loadgen`), driven with a Python system."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlperf_loadgen as lg
import numpy as np

SCENARIOS = {
    "single-stream": lg.TestScenario.SingleStream,
    "multi-stream": lg.TestScenario.MultiStream,
    "server": lg.TestScenario.Server,
    "offline": lg.TestScenario.Offline,
}


@dataclass(frozen=True)
class ReferenceResult:
    """What the reference's logs say of one test."""

    valid: bool
    summary: str
    last_completion_s: float

    def figure(self, label: str) -> float:
        """The number after `label` in the summary."""
        match = re.search(rf"^\s*{re.escape(label)}\s*:\s*([0-9.e+]+)", self.summary, re.MULTILINE)
        if match is None:
            raise ValueError(f"no {label!r} in the reference's summary:\n{self.summary}")
        return float(match.group(1))


def null_issue(samples: list) -> None:
    """Complete every sample at once, with no data."""
    lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in samples])


def predicting_issue(predict: Callable[[np.ndarray], np.ndarray]) -> Callable[[list], None]:
    """Answer each query in the issuing thread with a batch prediction."""

    def issue(samples: list) -> None:
        outputs = np.ascontiguousarray(predict(np.array([sample.index for sample in samples])))
        responses = []
        for sample, output in zip(samples, outputs, strict=True):
            responses.append(lg.QuerySampleResponse(sample.id, output.ctypes.data, output.nbytes))
        lg.QuerySamplesComplete(responses)

    return issue


def run_reference(
    scenario: str,
    *,
    issue: Callable[[list], None] = null_issue,
    samples: int = 1024,
    queries: int = 1,
    duration_ms: int = 0,
    target_qps: float = 1000.0,
    target_latency_ns: int = 10_000_000,
    accuracy: bool = False,
    trace: bool = False,
) -> ReferenceResult:
    """Run one test of the reference load generator and read its summary."""
    import time

    settings = lg.TestSettings()
    settings.scenario = SCENARIOS[scenario]
    settings.mode = lg.TestMode.AccuracyOnly if accuracy else lg.TestMode.PerformanceOnly
    settings.min_query_count = queries
    settings.min_duration_ms = duration_ms
    settings.server_target_qps = target_qps
    settings.offline_expected_qps = target_qps
    settings.server_target_latency_ns = target_latency_ns
    settings.server_target_latency_percentile = 0.99
    settings.single_stream_target_latency_percentile = 0.90
    settings.single_stream_expected_latency_ns = int(1e9 / target_qps)
    last = [0.0]

    def timed(query: list) -> None:
        issue(query)
        last[0] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        output = lg.LogOutputSettings()
        output.outdir = folder
        log_settings = lg.LogSettings()
        log_settings.log_output = output
        log_settings.enable_trace = trace
        sut = lg.ConstructSUT(timed if scenario == "offline" else issue, lambda: None)
        qsl = lg.ConstructQSL(samples, samples, lambda _: None, lambda _: None)
        lg.StartTestWithLogSettings(sut, qsl, settings, log_settings)
        lg.DestroyQSL(qsl)
        lg.DestroySUT(sut)
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text()
    return ReferenceResult("Result is : VALID" in summary, summary, last[0])

"""Sessions of a phone's browser for tests: real schedules, real answers, times that are made up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime

from gnomon.core.environment import capture
from gnomon.core.files import sha256_of
from gnomon.core.run import Run
from gnomon.loadgen.conditions import Conditions
from gnomon.loadgen.options import LoadOptions
from gnomon.loadgen.remote import Elsewhere, RemoteRun, Returned, scheduled_samples
from gnomon.loadgen.settings import NS_PER_MS
from gnomon.systems.held_against import held_against_model
from gnomon.tasks.digits import DATA, Digits
from tests.loadgen.small_mobile import SMALL

NOW = datetime(2026, 12, 1, tzinfo=UTC)
ANDROID = {
    "user_agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/130.0.0.0 Mobile Safari/537.36",
    "model": "Pixel 8",
    "brand": "Google Chrome 130",
    "os_version": "14.0.0",
}
IPHONE = {
    "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.4.1 Mobile/15E148 Safari/604.1",
}


def browser_run(
    out: Path,
    session: str = "7b6c9f1e-6f0b-4f0e-9d63-0d4a3c1e2b5a",
    device: dict = ANDROID,
    *,
    latency_ns: int = NS_PER_MS,
    rows: int | None = None,
    answers: bool = True,
    threads: int = 4,
) -> Run:
    """A run as the server of the page leaves it: all three tests, ended."""
    system = Elsewhere(
        "onnxruntime-web",
        {
            "framework": "ONNX Runtime Web",
            "version": "1.30.0",
            "accelerator": "CPU",
            "precision": "fp32",
            "threads": threads,
            "model": "digits.onnx",
            "model_sha256": sha256_of(DATA / "digits.onnx"),
            "batch_size": 16,
            "provider": "wasm",
            "isolated": True,
        },
    )
    extra = {"session": session, "environment": {**capture(), "device": device}}
    run = RemoteRun.begin(SMALL, LoadOptions(rules="quick"), system, out, extra)
    # Latencies that spread as real ones do, the same in every run.
    rows = (
        rows or -(-200 * NS_PER_MS // latency_ns) + 1
    )  # the last begins after the 0.2 s asked for
    spread_ns = np.random.default_rng(7).integers(0, latency_ns // 10, rows)
    issued_ns = np.arange(rows, dtype=np.int64) * latency_ns
    stream = Returned(
        issued_ns,
        issued_ns + latency_ns - spread_ns,
        NOW,
        conditions=Conditions(clock_resolution_ns=5e3),
    )
    run.record("single-stream", stream)
    begun_ns = np.arange(500, dtype=np.int64) // 16 * 10 * latency_ns
    batches = Returned(
        begun_ns, begun_ns + 10 * latency_ns, NOW, conditions=Conditions(cooldown_s=1.0)
    )
    run.record("offline", batches)
    if answers:
        run.record("accuracy", _answered(run))
    run.end("" if answers else "the page was closed")
    return Run.open(run.path)


def _answered(run: RemoteRun) -> Returned:
    samples = scheduled_samples(run.tests["accuracy"].settings, len(Digits())).astype(np.int64)
    session = onnxruntime.InferenceSession(DATA / "digits.onnx")
    scores = session.run(None, {session.get_inputs()[0].name: Digits().inputs(samples)})[0]
    issued_ns = np.arange(len(samples), dtype=np.int64) * NS_PER_MS
    agreement = held_against_model(Digits(), "fp32", samples, scores)
    return Returned(issued_ns, issued_ns + NS_PER_MS, NOW, answers=scores, agreement=agreement)

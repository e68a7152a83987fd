"""A server on a socket, and a page that measures: what the tests of the web package share."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import struct
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
import onnxruntime

from gnomon.loadgen.remote import scheduled_samples
from gnomon.tasks.mobile.classification import MobileClassification
from gnomon.web import runtime_package
from gnomon.web.runtime_package import FILES, INVENTORY_FILE, PACKAGE, VERSION
from gnomon.web.serve import Asked, made_ready

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
BENCHMARK = "mobile-classification"
SINGLE_QUERIES = 1200
SINGLE_LATENCY_NS = 8_342_000
"""1200 queries, one every 8.343 ms: the last is the first that is issued after the 10 s of quick rules."""
OFFLINE_SAMPLES = 2464
BATCH = 16
STARTED_AT_MS = {
    "single-stream": 1_764_000_000_000.5,
    "offline": 1_764_000_020_000,
    "accuracy": 1_764_000_030_000,
}
CONDITIONS = {
    "cooldown_s": 5.2,
    "battery": {
        "level_start": 0.9,
        "level_end": 0.89,
        "charging_start": False,
        "charging_end": False,
    },
    "hidden_ms": 0,
    "visibility_changes": 0,
    "clock_resolution_ns": 5000,
    "clock_drift_ppm": 3.1,
    "long_tasks_ms": 0,
    "online": False,
}


def small_runtime(cache):
    """A cache folder with a runtime of a few bytes a file, as if it had been downloaded."""
    folder = cache / f"{PACKAGE}-{VERSION}"
    folder.mkdir(parents=True)
    inventory = {}
    for name in FILES:
        data = f"// {name}\n".encode() * 100
        (folder / name).write_bytes(data)
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        inventory[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / INVENTORY_FILE).write_text(json.dumps(inventory))
    return cache


@contextmanager
def answering(ready):
    """A server that was made ready answers meanwhile, in a thread of this process."""
    server = ready.server()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [ready.listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def served(out, *, cache, **asked):
    """A server in a thread of this process; gives the page's address."""
    kept = runtime_package.cache_folder
    runtime_package.cache_folder = lambda: cache
    try:
        with made_ready(Asked(port=0, out=out, **asked)) as ready, answering(ready):
            yield ready.addresses[0]
    finally:
        runtime_package.cache_folder = kept


def body_of(header, *arrays):
    """The bytes of a test: length, header, arrays."""
    text = json.dumps(header).encode()
    data = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return struct.pack("<I", len(text)) + text + data


def described(name, array):
    """An array as the header has it."""
    return {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}


def body_of_test(test, issued_ns, completed_ns, outputs=(), *, conditions=None, **header):
    """The bytes that a page sends of a test; `conditions` are those that are others than usual."""
    times = [np.asarray(column, dtype=np.float64) for column in (issued_ns, completed_ns)]
    named = dict(zip(("issued_ns", "completed_ns"), times, strict=True))
    named |= {f"output-{number}": output for number, output in enumerate(outputs)}
    whole = {
        "test": test,
        "kind": "accuracy" if outputs else "performance",
        "started_at_ms": STARTED_AT_MS.get(test, 1_764_000_000_000),
        "warm_up_calls": 3,
        "interrupted": False,
        "faults": [],
        "conditions": {
            **CONDITIONS,
            **({"cooldown_s": None} if test == "single-stream" else {}),
            **(conditions or {}),
        },
        "arrays": [described(name, array) for name, array in named.items()],
        **header,
    }
    return body_of(whole, *named.values())


def single_stream(**header):
    """A plausible single-stream test: 1200 queries of 8 ms, one after the other."""
    issued = np.arange(SINGLE_QUERIES) * float(SINGLE_LATENCY_NS + 1000)
    return body_of_test("single-stream", issued, issued + SINGLE_LATENCY_NS, **header)


def offline(**header):
    """A plausible Offline test: batches of 16, each taking 20 ms."""
    batch = np.arange(OFFLINE_SAMPLES) // BATCH
    return body_of_test("offline", batch * 20_000_000.0, (batch + 1) * 20_000_000.0, **header)


def accuracy(precision="onnx", **header):
    """The accuracy test as the model that ships really answers it."""
    task = MobileClassification()
    session = onnxruntime.InferenceSession(task.model(precision))
    from gnomon.core.registry import BENCHMARKS
    from gnomon.loadgen.options import LoadOptions, accuracy_settings

    settings = accuracy_settings(BENCHMARKS.load(BENCHMARK), task, LoadOptions(rules="quick"))
    samples = scheduled_samples(settings, len(task))
    batches = [
        session.run(
            None, {session.get_inputs()[0].name: task.inputs(samples[start : start + 100])}
        )[0]
        for start in range(0, len(samples), 100)
    ]
    batch = np.arange(len(samples)) // BATCH
    times = batch * 20_000_000.0, (batch + 1) * 20_000_000.0
    return body_of_test("accuracy", *times, outputs=[np.concatenate(batches)], **header)


@dataclass
class Page:
    """A page with a session of its own."""

    address: str
    session: str = field(default_factory=lambda: str(uuid.uuid4()))
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def ask(self, method, path, *, key=None, **more):
        """One request."""
        headers = {"X-Gnomon-Key": key or self.key}
        return httpx.request(method, self.address + path, headers=headers, timeout=60, **more)

    @property
    def run_path(self):
        """Of the session's run."""
        return f"api/sessions/{self.session}/runs/{BENCHMARK}"

    def begin(self, *, key=None, **changed):
        """Begin the run."""
        asked = {
            "mode": "quick",
            "precision": "fp32",
            "provider": {
                "name": "wasm",
                "threads": 2,
                "isolated": True,
                "requested": "auto",
                "probes": [{"name": "webgpu", "usable": False, "why": "no adapter", "took_ms": 12}],
            },
            "device": {
                "user_agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/140.0 Mobile",
                "platform": "Android",
                "model": "Pixel 8",
                "hardware_concurrency": 8,
                "device_memory_gb": 8,
                "screen": [412, 915, 2.625],
                "gpu": "",
            },
            "clock": {"resolution_ns": 5000},
            "started_at_ms": 1_764_000_000_000,
            **changed,
        }
        return self.ask("PUT", self.run_path, key=key, json=asked)

    def send(self, test, body, *, key=None):
        """Send a test."""
        return self.ask("PUT", f"{self.run_path}/tests/{test}", key=key, content=body)

    def end(self, reason=""):
        """End the run."""
        return self.ask("POST", f"{self.run_path}/end", json={"interrupted_because": reason})

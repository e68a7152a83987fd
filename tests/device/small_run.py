"""Runs of the device protocol that take seconds: keyword spotting on real processes behind real PTYs."""

from __future__ import annotations

import json
import subprocess
import sys

import gnomon
from gnomon.core.spec import Benchmark, QualityTarget
from gnomon.device.line import open_line
from gnomon.device.options import TinyBenchmark
from tests.device.boards import MISBEHAVING

FEW = Benchmark(
    name="few-keywords",
    title="A few keywords",
    suite="tests",
    task="tiny-keywords",
    protocol="device",
    default_system="host-board",
    quality=QualityTarget(metric="top-1 accuracy", reference=0.5, factor=1.0),
    settings=TinyBenchmark(windows=2, window_s=1.0).model_dump(mode="json"),
    specification="none: an example",
)


class ScriptedBoard:
    """A board that behaves as misbehaving.py is told to."""

    name = "scripted-board"
    counts = "time"
    instructions_per_us = 0.0

    def __init__(self, **script):
        self._script = {"inference_s": 0.01, **script}
        self.process = None

    def connect(self, model_id, model, folder):
        self.close()
        self.process = subprocess.Popen(
            [sys.executable, str(MISBEHAVING), json.dumps(self._script)], stdout=subprocess.PIPE
        )
        return open_line(self.process.stdout.readline().decode().strip())

    def describe(self):
        return {"kind": "scripted"}

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


def run_few(out, system=None, **options):
    """Time two windows of a second, and nothing else unless asked."""
    options = {"accuracy": False, "duration_s": 1.0, **options}
    return gnomon.run(FEW, system=system or ScriptedBoard(), out=out, **options)

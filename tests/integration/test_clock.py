"""A wall clock that is set while a test runs, in a real process whose clock libfaketime moves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.core.run import Run, find_runs
from gnomon.results.check import check

LIBRARIES = sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))
JUMP_S = 120
PROGRAM = f"""
import sys
from pathlib import Path
import gnomon

clock = Path(sys.argv[2])

def set_the_clock(progress):
    if progress.elapsed_s > 0.7:
        clock.write_text("+{JUMP_S}")

run = gnomon.run("digits", scenario="single-stream", quick=True, accuracy=False, out=sys.argv[1],
                 observer=set_the_clock)
"""

pytestmark = pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime: apt-get install faketime")


def test_a_clock_that_is_set_during_a_test_makes_it_invalid_and_moves_no_latency(tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("+0")
    subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "runs", clock],
        env={
            **os.environ,
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
        check=True,
        timeout=60,
    )
    (path,) = find_runs(tmp_path / "runs")
    run = Run.open(path)
    assert run.status == "complete"
    assert not run.verdict.valid
    (fault,) = run.measurements["single-stream"]["faults"]
    assert fault["kind"] == "clock_jumped"
    jump_s = float(fault["message"].split("jumped by ")[1].split(" s")[0])
    assert jump_s == pytest.approx(JUMP_S, abs=1)
    samples = run.samples["single-stream"]
    assert samples.answered.all()
    assert samples.latency_ns.max() < JUMP_S * 1e9 / 2
    assert check(path).disagreements == ()

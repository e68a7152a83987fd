"""Two processes under DistributedDataParallel train the array that one process trains."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SCRIPT = Path(__file__).with_name("train_together.py")


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path):
    stored = tmp_path / "trained.pt"
    told = subprocess.run(
        [sys.executable, *TORCHRUN, SCRIPT, stored],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    together = torch.load(stored, weights_only=True)
    losses, array = runpy.run_path(str(SCRIPT))["train"]()
    assert losses[-1] < losses[0]
    assert together["losses"] == pytest.approx(losses, abs=1e-6)
    assert torch.equal(*together["arrays"])
    torch.testing.assert_close(together["arrays"][0], array, atol=1e-6, rtol=1e-5)
    assert "2 train together" in together["refused"]

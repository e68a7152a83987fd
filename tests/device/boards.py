"""Real board processes on real PTYs, for tests: started, opened, and ended for certain."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

MISBEHAVING = Path(__file__).with_name("misbehaving.py")


@dataclasses.dataclass
class Started:
    """A process, and where its line is."""

    process: subprocess.Popen
    address: str


@contextlib.contextmanager
def started(*command, **streams):
    """A process whose first line on standard output is its address."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=subprocess.PIPE, **streams
    )
    try:
        yield Started(process, process.stdout.readline().decode().strip())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def misbehaving(**script):
    """A board that does as the script says (see misbehaving.py)."""
    return started(MISBEHAVING, json.dumps(script))

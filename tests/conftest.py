"""What many tests share: the command as a process, and one real run to look at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

import gnomon
from gnomon.core.run import Run

# How long an example takes says more about what else the machine does than about the code. And a commit is to
# give the same answer wherever CI runs it; new examples are looked for at a desk.
hypothesis.settings.register_profile("any machine", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("any machine")

# A shell that starts the tests in the background has them ignore Ctrl-C, and whatever they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, so that no process is left with one when the others are done."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def gnomon_command(*arguments: object, cwd: Path, timeout_s: float = 100):
    """Run the command line in a process of its own and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", "gnomon.cli.main", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"},
        check=False,
    )


@pytest.fixture(scope="session")
def command():
    """The command line: `command("run", "--quick", cwd=folder)`."""
    return gnomon_command


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of digits on ONNX Runtime: all four scenarios and accuracy, quick rules."""
    return gnomon.run(
        "digits",
        scenario=("single-stream", "multi-stream", "server", "offline"),
        target_qps=500,
        quick=True,
        out=tmp_path_factory.mktemp("runs"),
    )

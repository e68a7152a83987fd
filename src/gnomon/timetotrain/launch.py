"""Starts the processes of one training run, watches them, and sees to it that none is left.

A single process is started as it is, several through torchrun, which also lets several machines meet.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gnomon.core.environment import processors
from gnomon.core.errors import DataError, SystemFault
from gnomon.timetotrain import journal as events
from gnomon.timetotrain.journal import Event, Tail
from gnomon.timetotrain.plan import Plan, write_plan

OUTPUT_FILE = "output.txt"
ENDING_FILE = "ending.json"
LOOK_EVERY_S = 0.05
GRACE_S = 60.0
"""Beyond the longest duration of a run: for its last evaluation, and for handing its model over."""
TERMINATE_S = 3.0
SAID_LAST = 300
"""Characters of a dead process's output that are quoted."""

MODULE = "gnomon.timetotrain.worker"


@dataclass(frozen=True)
class Ending:
    """How the processes of a run ended, as seen from outside.

    Attributes:
        launched_ns: Monotonic time before the first was started.
        ended_ns: And after the last was gone.
        exit_code: Of the process that was started; 0 if all is well. Negative: the signal that killed it.
        why: If it did not end well, in words.
    """

    launched_ns: int
    ended_ns: int
    exit_code: int
    why: str = ""


def run_processes(
    folder: Path, plan: Plan, observer: Callable[[Event], None] | None = None
) -> Ending:
    """Carry out a plan in processes of its own and wait for them.

    Args:
        folder: Of the run; exists.
        plan: What to do.
        observer: Told of every event of the journal.

    Raises:
        OSError: The folder cannot be written.
        BaseException: Whatever interrupts the waiting; the processes are stopped first.
    """
    write_plan(folder, plan)
    command = command_of(plan, folder)
    launched_ns = time.perf_counter_ns()
    with (folder / OUTPUT_FILE).open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment_of(plan.processes),
            start_new_session=True,
        )
        try:
            overdue = _watch(process, folder, plan, observer)
        finally:
            _stop(process)
    why = overdue
    if not why and process.returncode:
        why = _why(process.returncode, folder)
    ending = Ending(launched_ns, time.perf_counter_ns(), process.returncode, why)
    write_ending(folder, ending)
    return ending


def command_of(plan: Plan, folder: Path | None) -> list[str]:
    """The command that starts this machine's processes of a run."""
    arguments = [str(folder.absolute())] if folder else []
    if plan.processes * plan.nodes == 1:
        return [sys.executable, "-m", MODULE, *arguments]
    meet = ["--standalone"]
    if plan.nodes > 1:
        meet = meeting(plan.nodes, str(plan.rendezvous), plan.number)
    return torchrun(plan.processes, meet, arguments)


def torchrun(processes: int, meet: Sequence[str], arguments: Sequence[str] = ()) -> list[str]:
    """The command that starts several of a run's processes on this machine.

    Args:
        processes: How many.
        meet: How they find each other.
        arguments: Of each.
    """
    start = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    return [*start, *meet, "--max-restarts=0", "-m", MODULE, *arguments]


def meeting(nodes: int, address: str, number: int) -> list[str]:
    """How several machines find each other for one run: at an address, by its number."""
    return [
        f"--nnodes={nodes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={address}",
        f"--rdzv-id=gnomon-{number}",
    ]


def environment_of(processes: int) -> dict[str, str]:
    """The environment of a run's processes: they share the processors, unless the user said otherwise."""
    threads = max(1, processors() // processes)
    return {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"} | dict(os.environ)


def write_ending(folder: Path, ending: Ending) -> None:
    """Put on record how the processes ended."""
    (folder / ENDING_FILE).write_text(json.dumps(asdict(ending)) + "\n")


def read_ending(folder: Path) -> Ending | None:
    """How the processes ended; None while they go on, or if whoever watched them was killed.

    Raises:
        DataError: The file is damaged.
    """
    path = folder / ENDING_FILE
    if not path.exists():
        return None
    try:
        return Ending(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        raise DataError(f"{path} is damaged") from None


def _watch(
    process: subprocess.Popen[bytes],
    folder: Path,
    plan: Plan,
    observer: Callable[[Event], None] | None,
) -> str:
    """Wait for the end; returns why it was not waited for any longer, or nothing."""
    tail = Tail(folder)
    launched_s, started_s = time.monotonic(), 0.0
    most_s = plan.how.max_duration_s
    while True:
        over = process.poll() is not None
        with suppress(DataError):  # what a run writes is judged when it is over
            for event in tail.news():
                if event.name == events.RUN_START:
                    started_s = time.monotonic()
                if observer is not None:
                    observer(event)
        if over:
            return ""
        now_s = time.monotonic()
        if not started_s and now_s - launched_s > plan.how.max_initialisation_s + GRACE_S:
            return f"the processes were stopped {GRACE_S:g} s after the longest initialisation"
        if most_s and started_s and now_s - started_s > most_s + GRACE_S:
            return f"the processes were stopped {GRACE_S:g} s after the longest duration of a run"
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_EVERY_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of a run, the processes that torchrun started too."""
    if process.stdin:
        process.stdin.close()
    for sent, patience_s in ((signal.SIGTERM, TERMINATE_S), (signal.SIGKILL, TERMINATE_S)):
        if process.poll() is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        raise SystemFault(f"process {process.pid} of a training run cannot be stopped: kill it")


def _why(exit_code: int, folder: Path) -> str:
    """What a process that ended badly said last."""
    said = (folder / OUTPUT_FILE).read_text(errors="replace").strip()
    ours = [line for line in said.splitlines() if line.startswith("gnomon: ")]
    last = ours[-1].removeprefix("gnomon: ") if ours else " ".join(said.split())[-SAID_LAST:]
    how = (
        f"was killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"gave {exit_code}"
    )
    return f"a process of the run {how}: {last or 'it said nothing'} (see {OUTPUT_FILE})"

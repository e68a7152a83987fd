"""The process that all of Flower's processes are forked from: `python -m gnomon.systems.flower.host`.

Flower starts a new Python process for every message a client gets, and each would spend more than a second
importing Flower, NumPy and the data. The host imports them once and forks; a process of Flower that starts
another by its command's name forks as well. They remain processes of their own, with all that Flower does.

Orders come in on standard input, one JSON object a line; words about what became of them go out on standard
output. When standard input ends, or the parent dies, every process is killed.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import json
import math
import os
import random
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from gnomon.systems.flower.work import Work

PR_SET_PDEATHSIG = 1
CLONE_NEWNET = 0x40000000
PRELOADED = (
    "flwr.supernode.runtime.run_clientapp",
    "flwr.superlink.runtime.run_serverapp",
    "flwr.supernode.main",
    "flwr.superlink.main",
    "flwr.simulation.app",
    "gnomon.systems.flower.client_app",
    "gnomon.systems.flower.server_app",
)
GRACE_S = 3.0
FIRST_PULL_S = 0.05
REDIRECTED = ("stdin", "stdout", "stderr")
Command = Callable[[], Any]


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however it ends."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel knew
        os._exit(1)


def flower_commands() -> dict[str, Command]:
    """Flower's console commands by name, imported."""
    return {
        point.name: point.load()
        for point in entry_points(group="console_scripts")
        if point.dist is not None and point.dist.name == "flwr"
    }


class Forked:
    """What Flower gets instead of a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """None while it runs; how it ended is not kept."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def terminate(self) -> None:
        """Ask it to end."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def wait(self, timeout: float = math.inf) -> int:
        """Wait until it has ended.

        Raises:
            TimeoutExpired: It has not, in this time.
        """
        until_s = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until_s:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return 0


def fork_into(command: Command, arguments: Sequence[str], prepare: Command | None = None) -> int:
    """A child that runs one of Flower's commands as if it had been started by that name; its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        die_with_parent()
        # Forks would otherwise all draw the same "random" numbers.
        random.seed()
        np.random.seed()  # noqa: NPY002 - the generator that Flower may use
        if prepare is not None:
            prepare()
        sys.argv = list(arguments)
        command()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def fork_instead_of_starting(commands: Mapping[str, Command]) -> None:
    """From here on, a `Popen` of one of Flower's commands in this process forks.

    Flower starts some in a session of their own, and silenced. Here they stay in the group that is ended
    as a whole, and what they say goes into its log.
    """
    popen = subprocess.Popen

    def start(arguments: Any, *rest: Any, **options: Any) -> Any:
        name = str(arguments[0]) if isinstance(arguments, list) and arguments else ""
        if name in commands and not rest and options.keys() <= {*REDIRECTED, "start_new_session"}:
            return Forked(fork_into(commands[name], arguments))
        return popen(arguments, *rest, **options)

    subprocess.Popen = start  # type: ignore[assignment,misc]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: let no zombies stay


def shorten_waits(longest_s: float) -> None:
    """Idle parts of Flower ask again after this long at most.

    Flower's own waits: a node with nothing to do 3 s, a reply's parts that are still on their way 1 s and
    doubling. Of another version of Flower, what is not found stays as it is.
    """

    class Clock:
        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

        def sleep(self, seconds: float) -> None:
            time.sleep(min(seconds, longest_s))

    for name in ("flwr.supernode.start_client_internal", "flwr.superlink.grid.http_grid"):
        module: Any = importlib.import_module(name)
        if getattr(module, "time", None) is time:
            module.time = Clock()
        pull = getattr(module, "pull_objects", None)
        if pull and {"initial_backoff", "backoff_cap"} <= inspect.signature(pull).parameters.keys():
            first_s = min(FIRST_PULL_S, longest_s)
            module.pull_objects = partial(pull, initial_backoff=first_s, backoff_cap=longest_s)


def enter(network: str | None, control_groups: Sequence[str]) -> None:
    """Move this process into a network namespace and into control groups (paths of `cgroup.procs`)."""
    for path in control_groups:
        Path(path).write_text(str(os.getpid()))
    if network is not None:
        library = ctypes.CDLL(None, use_errno=True)
        with Path(network).open() as handle:
            if library.setns(handle.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {network}")


class Host:
    """Forks what it is told to, and keeps an eye on it."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self.commands = commands
        self.running: dict[int, str] = {}

    def start(self, order: Mapping[str, Any]) -> None:
        """Start one of Flower's processes.

        Args:
            order: `name`, `arguments`, `log`; for a node also `network`, `control_groups` and `executor`:
                the arguments of the process that starts its client app.
        """

        def prepare() -> None:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDONLY)
            log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            for source, target in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            enter(order.get("network"), order.get("control_groups", ()))
            fork_instead_of_starting(self.commands)
            if executor := order.get("executor"):
                executor = [*executor, "--parent-pid", str(os.getpid())]
                fork_into(self.commands[executor[0]], executor)

        arguments = order["arguments"]
        pid = fork_into(self.commands[arguments[0]], arguments, prepare)
        self.running[pid] = order["name"]
        tell(started=order["name"], pid=pid)

    def reap(self) -> None:
        """Tell of processes that ended, and end what they left behind."""
        while self.running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name = self.running.pop(pid, None)
            if name is not None:
                _signal_group(pid, signal.SIGKILL)
                tell(ended=name, code=os.waitstatus_to_exitcode(status))

    def stop(self) -> None:
        """End everything: politely, then not."""
        for pid in self.running:
            _signal_group(pid, signal.SIGTERM)
        until_s = time.monotonic() + GRACE_S
        while self.running and time.monotonic() < until_s:
            self.reap()
            time.sleep(0.02)
        for pid in self.running:
            _signal_group(pid, signal.SIGKILL)


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def tell(**words: Any) -> None:
    """One line for the parent."""
    print(json.dumps(words), flush=True)


def serve(host: Host) -> None:
    """Carry out orders until there is nobody to give them."""
    received = b""
    while True:
        ready, _, _ = select.select([0], [], [], 0.05)
        host.reap()
        if not ready:
            continue
        data = os.read(0, 1 << 16)
        if not data:
            return
        *lines, received = (received + data).split(b"\n")
        for line in lines:
            host.start(json.loads(line))


def main() -> NoReturn:
    """Import, say so, and serve."""
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides; it closes our input
    code = 1
    host = Host({})
    try:
        host.commands = flower_commands()
        for name in PRELOADED:
            importlib.import_module(name)
        poll_s, client_app, maker, arguments = sys.argv[1:]
        importlib.import_module(client_app.partition(":")[0])
        shorten_waits(float(poll_s))
        Work(maker, arguments).learner()
        tell(ready=True)
        serve(host)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        host.stop()
        os._exit(code)


if __name__ == "__main__":
    main()

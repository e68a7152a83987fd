"""Flower's processes for one federation: a SuperLink, a SuperNode a client, and the run, over loopback.

They talk protobuf over HTTP on ports of this machine alone, install nothing, send no telemetry, and keep what
they say in the run folder. However this process ends, none of them outlives it.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gnomon.core.errors import MissingExtraError, SettingsError, SystemFault
from gnomon.systems.flower.handover import SOCKET, depart
from gnomon.systems.flower.ports import free_ports, require_free
from gnomon.systems.flower.work import Work

APP = """\
[project]
name = "gnomon-federation"
version = "1.0.0"
dependencies = []

[tool.flwr.app]
publisher = "gnomon"

[tool.flwr.app.components]
serverapp = "gnomon.systems.flower.server_app:app"
clientapp = "{client_app}"

[tool.flwr.app.config]
gnomon-handover = {handover}
"""
CONNECTION = """\
[superlink]
default = "gnomon"

[superlink.gnomon]
address = "{address}"
insecure = true
"""
OLDEST = (1, 42)
"""Flower from which on all its processes talk HTTP, and are started as here."""
START_TIMEOUT_S = 60.0
LOG_TAIL = 3
DECORATION = re.compile(r"\x1b\[[0-9;]*m|[\u2500-\u257f]")
"""Colours and box lines, which Flower's commands put around what they say."""
SUPERLINK = "superlink"


def require_flower() -> str:
    """Flower's version.

    Raises:
        MissingExtraError: It is not installed.
        SettingsError: It is too old.
    """
    try:
        found = version("flwr")
    except PackageNotFoundError:
        raise MissingExtraError("flwr", "fed", "a federation on Flower") from None
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        raise SettingsError(
            f"flwr {found} is too old: its processes are started otherwise than since "
            f"{OLDEST[0]}.{OLDEST[1]}: pip install -U flwr"
        )
    return found


@dataclass(frozen=True)
class Place:
    """Where a client's processes run: as they are by default, else walled off (`namespaces.py`).

    Attributes:
        network: Path of a network namespace.
        control_groups: Paths of `cgroup.procs` to join.
    """

    network: str | None = None
    control_groups: tuple[str, ...] = ()


@dataclass
class Launch:
    """A federation's processes; a context manager that ends them all.

    Attributes:
        folder: For logs.
        scratch: For the app and Flower's own files; the server answers at its socket `server`.
        work: Recipe of the learner, followed once before clients are forked.
        client_app: `package.module:attribute` of Flower's ClientApp.
        host: Address of the SuperLink.
        port: Its port; 0 for a free one.
        poll_s: How often idle parts of Flower ask for work.
        node_config: Of every SuperNode, beside its number.
        places: One for each client.
    """

    folder: Path
    scratch: Path
    work: Work
    client_app: str
    places: Sequence[Place]
    host: str = "127.0.0.1"
    port: int = 0
    poll_s: float = 0.5
    node_config: Mapping[str, Any] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    gone_folder: Path = field(init=False)
    _process: subprocess.Popen[bytes] | None = None
    _received: bytes = b""
    _runs: int = 0

    def __post_init__(self) -> None:
        require_flower()
        self.gone_folder = self.scratch / "gone"
        self.gone_folder.mkdir()

    def __enter__(self) -> Self:
        try:
            self._start_host()
            self._start_superlink()
            self._start_nodes()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """For `select`: readable when `watch` has something to tell."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def close(self) -> None:
        """End every process, and wait until they are gone."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):  # it is gone already
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def run(self) -> None:
        """Hand the app to the SuperLink, which starts the ServerApp."""
        self._runs += 1
        self._start(f"run-{self._runs}", ["flwr", "run", str(self._app()), "gnomon"])

    def watch(self) -> None:
        """Take in what became of processes: note nodes that ended.

        Raises:
            SystemFault: The SuperLink ended, or the app could not be run.
        """
        for words in self._told():
            if "started" in words:
                self.pids[words["started"]] = words["pid"]
            if "ended" in words:
                self._ended(words["ended"], words["code"])

    def _ended(self, name: str, code: int) -> None:
        self.pids.pop(name, None)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        if name.startswith("client-"):
            depart(self.gone_folder, int(name.removeprefix("client-")), f"its process {how}")
        elif name == SUPERLINK or code:
            raise SystemFault(f"Flower's {name} {how}: {self.tail(name)}")

    def tail(self, name: str) -> str:
        """The last words of a process, in one line."""
        path = self.folder / f"{name}.log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        said = [words for line in lines if (words := DECORATION.sub("", line).strip())]
        return f"{' | '.join(said[-LOG_TAIL:]) or 'it said nothing'} ({path})"

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "FLWR_HOME": str(self.scratch / "flower"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": str(self.poll_s),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "400",  # else Flower's commands break what they say into short lines
        }

    def _start_host(self) -> None:
        log = (self.folder / "host.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gnomon.systems.flower.host"),
                    *(str(self.poll_s), self.client_app, self.work.maker, self.work.arguments),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment(),
            )
        until_s = time.monotonic() + START_TIMEOUT_S
        while not any("ready" in words for words in self._told(timeout_s=0.5)):
            if time.monotonic() > until_s:
                raise SystemFault(f"Flower was not imported within {START_TIMEOUT_S:g} s")

    def _start_superlink(self) -> None:
        if self.port:
            require_free(self.host, self.port)
        else:
            (self.port,) = free_ports(self.host, 1)
        home = self.scratch / "flower"
        home.mkdir()
        (home / "config.toml").write_text(CONNECTION.format(address=self._address))
        self._start(
            SUPERLINK,
            [
                *("flower-superlink", "--insecure", "--disable-runtime-dependency-installation"),
                *("--host", self.host, "--port", str(self.port)),
            ],
        )
        self._wait_for_superlink()

    def _start_nodes(self) -> None:
        ports = free_ports("127.0.0.1", len(self.places))
        for client, (place, port) in enumerate(zip(self.places, ports, strict=True)):
            config = {"partition-id": client, "num-partitions": len(self.places)}
            runtime = f"127.0.0.1:{port}"
            self._start(
                f"client-{client}",
                [
                    *("flower-supernode", "--insecure", "--superlink", self._address),
                    *("--isolation", "process", "--host", "127.0.0.1", "--port", str(port)),
                    *("--node-config", _toml(config | dict(self.node_config))),
                ],
                executor=["flower-superexec", "--insecure", "--runtime-api-address", runtime],
                network=place.network,
                control_groups=place.control_groups,
            )

    @property
    def _address(self) -> str:
        return f"{self.host}:{self.port}"

    def _app(self) -> Path:
        app = self.scratch / "app"
        app.mkdir(exist_ok=True)
        (app / "pyproject.toml").write_text(
            APP.format(client_app=self.client_app, handover=json.dumps(str(self.scratch / SOCKET)))
        )
        return app

    def _start(self, name: str, arguments: list[str], **more: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        log = self.folder / f"{name}.log"
        order = {"name": name, "arguments": arguments, "log": str(log), **more}
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise SystemFault(f"Flower's host ended: {self.tail('host')}") from None

    def _told(self, timeout_s: float = 0.0) -> list[dict[str, Any]]:
        ready, _, _ = select.select([self], [], [], timeout_s)
        if not ready:
            return []
        data = os.read(self.fileno(), 1 << 16)
        if not data:
            raise SystemFault(f"Flower's host ended: {self.tail('host')}")
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def _wait_for_superlink(self) -> None:
        until_s = time.monotonic() + START_TIMEOUT_S
        while True:
            self.watch()
            try:
                with urllib.request.urlopen(f"http://{self._address}/health", timeout=1):
                    return
            except OSError:
                pass
            if time.monotonic() > until_s:
                raise SystemFault(
                    f"Flower's SuperLink did not answer within {START_TIMEOUT_S:g} s: "
                    f"{self.tail(SUPERLINK)}"
                )
            time.sleep(0.05)


def _toml(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(value)}" for name, value in values.items())

"""The host board: this computer's processor behind the protocol of the boards, in a process of its own."""

from __future__ import annotations

import os
import platform
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError, SettingsError, SystemFault, UnknownNameError
from gnomon.core.files import sha256_of
from gnomon.device.board import Counts, Line
from gnomon.device.host.models import PACKAGES, RUNTIMES, Runtime, runtime_version
from gnomon.device.line import open_line, pyserial

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 2.0
LOG_NAME = "host-board.log"


class HostBoard:
    """A process that answers as a board, on a PTY.

    Args:
        runtime: `litert`, or `tflite-micro`, whose answers are those of the microcontrollers' reference
            kernels to the byte.
        threads: LiteRT's threads.
        energy: Whether it is built as for energy: its timestamps are not told.

    Raises:
        UnknownNameError: There is no such runtime.
        SettingsError: The number of threads makes no sense.
    """

    name = "host-board"
    counts: Counts = "time"
    instructions_per_us = 0.0

    def __init__(
        self, runtime: Runtime = "litert", threads: int = 1, *, energy: bool = False
    ) -> None:
        if runtime not in RUNTIMES:
            raise UnknownNameError("runtime", runtime, RUNTIMES)
        if not isinstance(threads, int) or threads < 1:
            raise SettingsError(f"threads must be a whole number of at least 1, got {threads!r}")
        if runtime == "tflite-micro" and threads != 1:
            raise SettingsError("TensorFlow Lite Micro runs on one thread: leave threads out")
        self._runtime, self._threads, self._energy = runtime, threads, energy
        self._process: subprocess.Popen[bytes] | None = None
        self._model: dict[str, Any] = {}

    def connect(self, model_id: str, model: Path, folder: Path) -> Line:
        """Start the process with this model and open its line.

        Raises:
            MissingExtraError: pyserial or the runtime is not installed.
            DataError: There is no such model.
            SystemFault: It does not start.
        """
        pyserial()
        runtime_version(self._runtime)
        if not model.is_file():
            raise DataError(f"model {model} is missing: give a file with --model")
        self.close()
        self._model = {"model": model.name, "model_sha256": sha256_of(model)}
        command = [sys.executable, "-m", "gnomon.device.host", "--pty"]
        command += ["--model", str(model), "--model-id", model_id]
        command += ["--runtime", self._runtime, "--threads", str(self._threads)]
        command += ["--energy"] if self._energy else []
        log = folder / LOG_NAME
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the one that measures, which then stops it
            )
        try:
            return open_line(self._address(self._process, log))
        except BaseException:
            self.close()
            raise

    def describe(self) -> dict[str, Any]:
        """Runtime, threads and model."""
        return {
            "board": "a process of this computer",
            "processor": platform.machine(),
            "runtime": self._runtime,
            PACKAGES[self._runtime]: runtime_version(self._runtime),
            "threads": self._threads,
            **self._model,
        }

    def close(self) -> None:
        """Stop the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _address(self, process: subprocess.Popen[bytes], log: Path) -> str:
        """The first line that the process prints."""
        assert process.stdout is not None
        descriptor, said = process.stdout.fileno(), b""
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"\n" not in said:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
                raise SystemFault(
                    f"the host board did not start within {START_TIMEOUT_S:.0f} s: see {log}"
                )
            data = os.read(descriptor, 4096)
            if not data:
                raise SystemFault(f"the host board did not start: {_last_line(log)}")
            said += data
        return said.partition(b"\n")[0].decode().strip()


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("host board: ") if lines else f"it said nothing (see {log})"

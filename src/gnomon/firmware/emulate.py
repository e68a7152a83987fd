"""An emulated board: QEMU runs an image, its serial line is a TCP socket on this machine.

QEMU counts: each instruction takes `2**shift` ns of the board's clock. So its timestamps are instructions,
the same in every run, and say nothing of how long a real part would take.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from gnomon.core.errors import MissingToolError, SystemFault, UnknownNameError
from gnomon.firmware.build import TARGETS

EMULATOR, EMULATOR_PACKAGES = "qemu-system-arm", "qemu-system-arm"
GUARD = Path(__file__).with_name("guard.py")
ICOUNT_SHIFT = 3
START_S, STOP_S = 10.0, 5.0
POLL_S = 0.01
LISTENING = "waiting for connection"


def instructions_per_us(shift: int = ICOUNT_SHIFT) -> float:
    """How many instructions a microsecond of the emulated board's clock is."""
    return float(1000 / 2**shift)


class EmulatedBoard:
    """A board that runs in QEMU from construction until `stop`, or until this process ends.

    It starts when somebody connects to its line, so that the boot lines are not missed.

    Attributes:
        address: Where its serial line is: `socket://127.0.0.1:PORT`.
        log: What QEMU said.
    """

    def __init__(self, elf: Path, board: str, log: Path, *, shift: int = ICOUNT_SHIFT) -> None:
        """Start it.

        Args:
            elf: The image.
            board: A name in `TARGETS`.
            log: A file for QEMU's words.
            shift: An instruction takes `2**shift` ns of the board's clock.

        Raises:
            UnknownNameError: There is no such board.
            MissingToolError: QEMU is missing.
            SystemFault: It does not start.
        """
        if board not in TARGETS:
            raise UnknownNameError("board", board, TARGETS)
        emulator = shutil.which(EMULATOR)
        if emulator is None:
            raise MissingToolError(EMULATOR, EMULATOR_PACKAGES, f"an emulated {board}")
        if not elf.is_file():  # QEMU looks for it only when somebody has connected
            raise SystemFault(f"there is no image {elf} to emulate")
        self.log = log
        # QEMU is handed a socket that listens already: no port is ever free for somebody else to take.
        with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as words:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = listener.fileno()
            self.address = f"socket://127.0.0.1:{listener.getsockname()[1]}"
            self._guard = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(GUARD), str(number)),
                    *(emulator, "-M", board, "-kernel", str(elf), "-icount", f"shift={shift}"),
                    *(
                        "-display",
                        "none",
                        "-monitor",
                        "none",
                        "-nodefaults",
                        "-serial",
                        "chardev:line",
                    ),
                    *("-chardev", f"socket,id=line,fd={number},server=on,wait=on"),
                ],
                stdin=subprocess.PIPE,
                stdout=words,
                stderr=words,
                pass_fds=[number],
                start_new_session=True,  # Ctrl-C is for this process to handle
            )
        self._wait_for_line()

    def running(self) -> bool:
        """Whether QEMU still runs."""
        return self._guard.poll() is None

    def stop(self) -> None:
        """End QEMU; may be called twice."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        try:
            self._guard.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()

    def __enter__(self) -> EmulatedBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_for_line(self) -> None:
        give_up_s = time.monotonic() + START_S
        while LISTENING not in (words := self.log.read_text(errors="replace")):
            if not self.running() or time.monotonic() > give_up_s:
                self.stop()
                last = words.strip().splitlines()[-1:] or ["it said nothing"]
                raise SystemFault(f"{EMULATOR} did not start: {last[0]} ({self.log})")
            time.sleep(POLL_S)

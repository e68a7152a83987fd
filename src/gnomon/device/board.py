"""The System of the device protocol: a board that can be reached on a line of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

Counts = Literal["time", "instructions"]


class Line(Protocol):
    """Bytes both ways: a serial port, a PTY, a socket. Not shared between threads."""

    address: str
    """For people: `/dev/ttyACM0`, `socket://host:port`, `/dev/pts/3`."""

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            SystemFault: The other end is gone.
        """

    def read(self, timeout_s: float) -> bytes:
        """What has arrived, at least a byte; empty if nothing came for `timeout_s`.

        Raises:
            SystemFault: The other end is gone.
        """

    def close(self) -> None:
        """Let go of it; may be called twice."""


class Board(Protocol):
    """Something that speaks the protocol of the field's firmware, measured by `gnomon run BENCHMARK`.

    Attributes:
        name: Registered name.
        counts: What its timestamps mean: microseconds of time, or instructions of an emulated processor,
            which are no latency.
        instructions_per_us: How many instructions a microsecond of its clock stands for; 0 if it counts time.
    """

    name: str
    counts: Counts
    instructions_per_us: float

    def connect(self, model_id: str, model: Path, folder: Path) -> Line:
        """Start the board with this model (an int8 `.tflite`), or find one that has it, and open its line.

        Args:
            model_id: `kws01` and so on.
            model: The model's file; a board that is flashed by hand ignores it.
            folder: Where it may keep what a person would want to see: logs, the firmware's image.

        Raises:
            SystemFault: It does not start.
            GnomonError: A tool or a package that it needs is missing.
        """

    def describe(self) -> dict[str, Any]:
        """For the record; what is known only after `connect` comes later."""

    def close(self) -> None:
        """Stop it; may be called twice, and without `connect`."""

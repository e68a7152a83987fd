"""What a board's firmware does with the bytes it is sent: commands in, reply lines out, a window timed.

It answers as the field's reference firmware (mlcommons/tiny, `api/internally_implemented.cpp`), errors
included; where that one would run out of its buffers, this one holds still.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

PROFILE = "ULPMark for tinyML Firmware V0.0.1"
TERMINATOR = b"%"
MOST_COMMAND_BYTES = 80
MOST_PAYLOAD_BYTES = 96 * 96 * 3
BYTES_PER_PRINTED_LINE = 8
DEFAULT_WARMUPS = 10
MOST_INTEGER = 2**31 - 1


class Model(Protocol):
    """What the firmware runs."""

    def load(self, payload: bytes) -> str:
        """Take a payload as input; what is wrong with it, or nothing."""

    def infer(self, count: int) -> None:
        """Infer so many times on the input."""

    def results(self) -> Sequence[float]:
        """The answer of the last inference."""


class Firmware:
    """The protocol of one board.

    Args:
        model: What is inferred.
        model_id: What `profile` says.
        write: Takes the bytes of replies.
        clock_us: The board's counter of microseconds.
        energy: Whether it was built for energy: timestamps are pulses on a pin (`pulse`), not text.
        vendor: What `name` says.
        pulse: Called at a timestamp in energy mode.
    """

    def __init__(
        self,
        model: Model,
        model_id: str,
        write: Callable[[bytes], object],
        clock_us: Callable[[], int],
        *,
        energy: bool = False,
        vendor: str = "unspecified",
        pulse: Callable[[], object] = lambda: None,
    ) -> None:
        self._model, self._model_id, self._vendor = model, model_id, vendor
        self._write, self._clock_us = write, clock_us
        self._energy, self._pulse = energy, pulse
        self._command = b""
        self._payload = bytearray()
        self._expected_bytes = 0
        self._said: list[str] = []

    def boot(self) -> None:
        """Say what a board says when it starts."""
        self._say(f"m-timestamp-mode-{'energy' if self._energy else 'performance'}")
        self._timestamp()
        self._say("m-init-done")
        self._ready()

    def receive(self, data: bytes) -> None:
        """Take bytes as they come; each command that they complete is carried out at once."""
        *whole, rest = data.split(TERMINATOR)
        for part in whole:
            command = (self._command + part)[:MOST_COMMAND_BYTES]
            self._command = b""
            self._carry_out(command)
        self._command = (self._command + rest)[:MOST_COMMAND_BYTES]

    def _carry_out(self, command: bytes) -> None:
        # Of what a C program takes for a text: up to the first NUL.
        words = command.partition(b"\0")[0].decode("ascii", "replace").split(" ")
        match [word for word in words if word]:
            case ["name", *_]:
                self._say(f"m-name-dut-[{self._vendor}]")
            case ["timestamp", *_]:
                self._timestamp()
            case ["profile", *_]:
                self._say(f"m-profile-[{PROFILE}]")
                self._say(f"m-model-[{self._model_id}]")
            case ["help", *_]:
                self._help()
            case ["db", *arguments]:
                self._buffer(arguments)
            case ["infer", *arguments]:
                self._infer(arguments)
            case ["results", *_]:
                self._results()
            case known:
                self._say(f"e-[Unknown command: {known[0] if known else ''}]")
        self._ready()

    def _buffer(self, arguments: list[str]) -> None:
        match arguments:
            case []:
                self._say("e-[Command 'db' requires a subcommand]")
            case ["load"]:
                self._say("e-[Command 'db load' requires the # of bytes]")
            case ["load", size, *_]:
                self._expect(_integer(size))
            case ["print", *_]:
                self._print()
            case [digits, *_]:
                self._take(digits)

    def _expect(self, size: int) -> None:
        self._expected_bytes = 0
        if size == 0:
            self._say("e-[Command 'db load' must be >0 bytes]")
            return
        self._payload.clear()
        if not 0 < size <= MOST_PAYLOAD_BYTES:
            self._say(f"Supplied buffer size {size} exceeds maximum of {MOST_PAYLOAD_BYTES}")
            return
        self._expected_bytes = size
        self._say(f"m-[Expecting {size} bytes]")

    def _take(self, digits: str) -> None:
        if len(digits) % 2:
            self._say("e-[Insufficent number of hex digits]")  # so spelt in the field
            return
        for start in range(0, len(digits), 2):
            pair = digits[start : start + 2]
            if not re.fullmatch("[0-9a-fA-F]{2}", pair):
                self._say(f"e-[Invalid hex digit '{pair}']")
                return
            if len(self._payload) >= MOST_PAYLOAD_BYTES:
                return
            self._payload.append(int(pair, 16))
            if len(self._payload) == self._expected_bytes:
                self._say("m-load-done")
                return

    def _print(self) -> None:
        held = bytes(self._payload[: self._expected_bytes]).ljust(self._expected_bytes, b"\0")
        for start in range(0, len(held), BYTES_PER_PRINTED_LINE):
            self._say("m-buffer-" + held[start : start + BYTES_PER_PRINTED_LINE].hex("-"))

    def _infer(self, arguments: list[str]) -> None:
        iterations = _integer(arguments[0]) if arguments else 1
        warmups = _integer(arguments[1]) if len(arguments) > 1 else DEFAULT_WARMUPS
        if iterations <= 0:
            self._say("e-[Inference iterations must be >0]")
            return
        if warmups < 0:
            self._say("e-[Inference warmup must be >=0]")
            return
        wrong = self._model.load(bytes(self._payload))
        if wrong:
            self._say(f"e-[{wrong}]")
            return
        self._say(f"m-warmup-start-{warmups}")
        self._flush()
        self._model.infer(warmups)
        self._say("m-warmup-done")
        self._say(f"m-infer-start-{iterations}")
        self._flush()
        self._timestamp()
        self._flush()
        self._model.infer(iterations)
        self._timestamp()
        self._say("m-infer-done")
        self._results()

    def _results(self) -> None:
        printed = ",".join(f"{value:.3f}" for value in self._model.results())
        self._say(f"m-results-[{printed}]")

    def _timestamp(self) -> None:
        if self._energy:
            self._pulse()
        else:
            self._say(f"m-lap-us-{self._clock_us()}")

    def _help(self) -> None:
        for line in (
            PROFILE,
            "",
            "name            vendor of this board",
            "profile         firmware and model",
            "timestamp       microseconds, or a pulse in energy mode",
            "db load N       expect N bytes",
            "db HH..         bytes in hexadecimal",
            "db print        the bytes held",
            "infer N [W=10]  N inferences after W to warm up",
            "results         of the last inference",
        ):
            self._say(line)

    def _ready(self) -> None:
        self._say("m-ready")
        self._flush()

    def _say(self, line: str) -> None:
        self._said.append(line + "\r\n")

    def _flush(self) -> None:
        if self._said:
            said, self._said = "".join(self._said), []
            self._write(said.encode("ascii", "replace"))


def _integer(text: str) -> int:
    """What C's `atoi` makes of a text, kept within 32 bits."""
    match = re.match(r"\s*([+-]?\d{1,20})", text, re.ASCII)
    return max(-MOST_INTEGER, min(MOST_INTEGER, int(match[1]))) if match else 0

"""The serial protocol as bytes and lines: what a host sends, and what the answers of any board mean. No I/O.

Commands end with `%`, answers are lines, and every answer ends with `m-ready` (mlcommons/tiny,
`api/internally_implemented.cpp`). Boards differ in how they print; what can be understood is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gnomon.core.errors import SettingsError, SystemFault

TERMINATOR = "%"
MOST_COMMAND_CHARACTERS = 80
MOST_PAYLOAD_BYTES = 96 * 96 * 3
CHUNK_BYTES = 31
"""Payload bytes of one `db` command: what the field's runner sends."""
CHUNK_BYTES_THROUGH_IO_MANAGER = 26
FORWARDED = "[dut]:"
"""How the field's IO manager marks what the board behind it says."""
MOST_LINE_CHARACTERS = 16_384

Kind: TypeAlias = Literal[
    "ready",
    "init-done",
    "timestamp-mode",
    "name",
    "profile",
    "model",
    "lap",
    "expecting",
    "load-done",
    "buffer",
    "warmup-start",
    "warmup-done",
    "infer-start",
    "infer-done",
    "results",
    "layer",
    "error",
    "garbled",
    "text",
]


class ProtocolError(SystemFault):
    """A board's answer that begins like one of the protocol and means nothing."""


@dataclass(frozen=True)
class Reply:
    """One line of a board.

    Attributes:
        kind: Which of the protocol's lines it is; `text` is anything else.
        name: The words in it: vendor, profile, model, timestamp mode, layer, what an error says.
        values: The numbers in it: microseconds, bytes, counts, results.
        text: The line as it came.
        forwarded: Whether an IO manager passed it on from the board behind it.
    """

    kind: Kind
    name: str = ""
    values: tuple[float, ...] = ()
    text: str = ""
    forwarded: bool = False


def command(text: str) -> bytes:
    """A command as it travels.

    Raises:
        SettingsError: It holds what would end it, or is longer than a board's buffer.
    """
    if TERMINATOR in text or not text.isascii() or not text.strip():
        raise SettingsError(f"command {text!r} must be ASCII text without {TERMINATOR!r}")
    if len(text) > MOST_COMMAND_CHARACTERS:
        raise SettingsError(
            f"command {text[:20]!r}... has {len(text)} characters, boards take "
            f"{MOST_COMMAND_CHARACTERS}: send less at once"
        )
    return (text + TERMINATOR).encode("ascii")


def chunk_commands(payload: bytes, chunk_bytes: int = CHUNK_BYTES) -> list[str]:
    """The `db` commands that carry a payload after `db load`, in order."""
    return [
        f"db {payload[start : start + chunk_bytes].hex()}"
        for start in range(0, len(payload), chunk_bytes)
    ]


class LineReader:
    """Puts lines together from bytes that arrive in any pieces."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that these bytes complete: ended by LF, CR or both, without NULs and empty lines.

        What is no ASCII is escaped. A line that does not end is cut after `MOST_LINE_CHARACTERS`.
        """
        held = (self._partial + data).replace(b"\0", b"").replace(b"\r", b"\n")
        *whole, self._partial = held.split(b"\n")
        if len(self._partial) > MOST_LINE_CHARACTERS:
            whole.append(self._partial[:MOST_LINE_CHARACTERS])
            self._partial = b""
        lines = (line.decode("ascii", "backslashreplace").strip() for line in whole)
        return [line for line in lines if line]

    def rest(self) -> str:
        """What has come of a line that has not ended."""
        return self._partial.decode("ascii", "backslashreplace")


_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|nan|inf)", re.ASCII | re.I)
_Read: TypeAlias = Callable[["re.Match[str]"], tuple[str, tuple[float, ...]]]


def _numbers(text: str) -> tuple[float, ...]:
    parts = [part for part in re.split(r"[,;\s]+", text.strip(" []")) if part]
    if not parts or not all(_NUMBER.fullmatch(part) for part in parts):
        raise ValueError("no list of numbers")
    return tuple(map(float, parts))


def _list(match: re.Match[str]) -> tuple[str, tuple[float, ...]]:
    return "", _numbers(match[1])


def _one_number(match: re.Match[str]) -> tuple[str, tuple[float, ...]]:
    numbers = _numbers(match[1])
    if len(numbers) != 1 or not math.isfinite(numbers[0]):
        raise ValueError("not one number")
    return "", numbers


def _words(match: re.Match[str]) -> tuple[str, tuple[float, ...]]:
    return match[1].strip(), ()


def _nothing(match: re.Match[str]) -> tuple[str, tuple[float, ...]]:
    return "", ()


def _bytes(match: re.Match[str]) -> tuple[str, tuple[float, ...]]:
    parts = [part for part in re.split(r"[-\s]+", match[1]) if part]
    if not all(re.fullmatch(r"[0-9a-fA-F]{2}", part) for part in parts):
        raise ValueError("no bytes in hexadecimal")
    return "", tuple(float(int(part, 16)) for part in parts)


def _layer(match: re.Match[str]) -> tuple[str, tuple[float, ...]]:
    index, name, ticks = match[1].strip(" []").split(",")
    return name.strip(), _numbers(f"{index},{ticks}")


# A line is of the first kind that is found in it: garbage of a port that was just opened, or an echo of
# the command, may stand before.
_FORMS: tuple[tuple[Kind, str, _Read], ...] = (
    ("ready", r"m-ready", _nothing),
    ("init-done", r"m-init-done", _nothing),
    ("timestamp-mode", r"m-timestamp-mode-\[?([a-z]+)", _words),
    ("name", r"m-name-(?:dut-)?\[?([^\]]*)", _words),
    ("profile", r"m-profile-\[?([^\]]*)", _words),
    ("model", r"m-model-\[?([^\]]*)", _words),
    ("lap", r"m-lap-us-(.*)", _one_number),
    ("expecting", r"m-\[?Expecting (\d+) bytes", _one_number),
    ("load-done", r"m-load-done", _nothing),
    ("buffer", r"m-buffer-(.*)", _bytes),
    ("warmup-start", r"m-warmup-start-(.*)", _one_number),
    ("warmup-done", r"m-warmup-done", _nothing),
    ("infer-start", r"m-infer-start-(.*)", _one_number),
    ("infer-done", r"m-infer-done", _nothing),
    ("results", r"m-results-(.*)", _list),
    ("layer", r"m-layer-(.*)", _layer),
    ("error", r"(?<![a-z])e-\[?(.*?)\]?$", _words),
    # Two complaints that the reference firmware prints without any mark.
    ("error", r"(Supplied buffer size .* exceeds .*)", _words),
    ("error", r"(Input db has .* expected .*)", _words),
)


def parse(line: str) -> Reply:
    """What a line means.

    Raises:
        ProtocolError: It begins like a line of the protocol, and the rest means nothing.
    """
    forwarded = FORWARDED in line
    said = line.partition(FORWARDED)[2].strip() if forwarded else line.strip()
    for kind, pattern, read in _FORMS:
        match = re.search(pattern, said)
        if match is None:
            continue
        try:
            name, values = read(match)
        except ValueError as error:
            raise ProtocolError(f"the board's line {line[:120]!r} means nothing: {error}") from None
        return Reply(kind, name, values, line, forwarded)
    return Reply("text", said, (), line, forwarded)

"""One question and its answer on a line that may lose, double or delay what is said.

Everything said either way goes to an observer with its time. Nothing waits for ever, and a fault says
what was sent, what was awaited, for how long, and what came last.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gnomon.core.errors import SystemFault
from gnomon.device import wire
from gnomon.device.board import Line
from gnomon.device.wire import Kind, LineReader, ProtocolError, Reply

Direction: TypeAlias = Literal["sent", "received"]
Observer: TypeAlias = Callable[[Direction, int, str], object]
"""Called with the direction, `time.monotonic_ns()` and the text of every command and line."""

COMMAND_TIMEOUT_S = 5.0
QUIET_S = 0.1
"""Nobody is going to speak: a board answers a command, or begins to, within a few milliseconds."""
MOST_SENDS = 4
KEPT_LINES = 4
NOTHING_DONE = ("Unknown command",)
"""How errors begin that a board prints when it has not carried out anything."""


@dataclass(frozen=True)
class Heard:
    """A line of the board and when it came (`time.monotonic_ns()`)."""

    at_ns: int
    reply: Reply


class BoardSilentError(SystemFault):
    """No answer in time. Where it can be asked again, it is."""


class Conversation:
    """Commands and answers on an open line, directly or through the field's IO manager.

    Attributes:
        resent: How many commands were sent again because they had arrived mangled.
        met: Whether the board has introduced itself; if it boots after that, it has reset.
    """

    def __init__(
        self,
        line: Line,
        observer: Observer | None = None,
        command_timeout_s: float = COMMAND_TIMEOUT_S,
        *,
        io_manager: bool = False,
    ) -> None:
        self.address, self.command_timeout_s = line.address, command_timeout_s
        self.resent, self.met = 0, False
        self._line, self._observer, self._io_manager = line, observer, io_manager
        self._reader = LineReader()
        self._waiting: deque[Heard] = deque()
        self._last_lines: deque[str] = deque(maxlen=KEPT_LINES)

    def ask(
        self,
        text: str,
        silence_s: float | None = None,
        total_s: float | None = None,
        refusals: Sequence[str] = NOTHING_DONE,
    ) -> list[Heard]:
        """Send a command; what the board says before `m-ready`.

        Args:
            text: The command, without `%`.
            silence_s: How long the board may say nothing.
            total_s: How long the answer may take; default: four times as long.
            refusals: How errors begin after which the command is sent again, three times at most.

        Raises:
            BoardSilentError: No `m-ready` came.
            SystemFault: The board has reset, or is gone.
        """
        for sends in range(1, MOST_SENDS + 1):
            heard = self.exchange(text, silence_s, total_s)
            while _refused(heard, refusals):
                # A stray command (a doubled `%`) may have been answered in place of ours.
                early = self._next(QUIET_S)
                if early is None:
                    break
                self._waiting.appendleft(early)
                heard = self._answer(text, silence_s, total_s)
            else:
                return heard
            self.resent += sends < MOST_SENDS
        return heard

    def exchange(
        self, text: str, silence_s: float | None = None, total_s: float | None = None
    ) -> list[Heard]:
        """Send a command once; all that is heard before the next `m-ready`, whatever it is."""
        while self._next(0.0) is not None:
            pass  # the answer to a stray command: it has nothing to do with this one
        sent = f"dut {text}" if self._io_manager else text
        self._tell("sent", sent)
        self._line.write(wire.command(sent))
        return self._answer(text, silence_s, total_s)

    def settle(self) -> list[Heard]:
        """What comes until the board is quiet, or has spoken for as long as a command may take."""
        heard: list[Heard] = []
        deadline = time.monotonic() + self.command_timeout_s
        while time.monotonic() < deadline:
            each = self._next(QUIET_S)
            if each is None:
                break
            heard.append(each)
        return heard

    def fault(self, sent: str, awaited: str, why: str) -> SystemFault:
        """A fault in one line, with what there is to judge it by."""
        return SystemFault(self._account(sent, awaited, why))

    def _answer(self, text: str, silence_s: float | None, total_s: float | None) -> list[Heard]:
        silence_s = self.command_timeout_s if silence_s is None else silence_s
        total_s = 4 * silence_s if total_s is None else total_s
        start = time.monotonic()
        heard: list[Heard] = []
        while True:
            left_s = start + total_s - time.monotonic()
            each = self._next(min(silence_s, left_s)) if left_s > 0 else None
            if each is None:
                waited_s = time.monotonic() - start
                why = f"no m-ready within {waited_s:.1f} s"
                raise BoardSilentError(self._account(text, "m-ready", why))
            if self._io_manager and not each.reply.forwarded:
                continue
            if each.reply.kind == "ready":
                return heard
            heard.append(each)
            if each.reply.kind == "error":  # whatever it was to take long is not going to
                silence_s = min(silence_s, self.command_timeout_s)

    def _next(self, timeout_s: float) -> Heard | None:
        """The next line; None if no whole one came in time."""
        deadline = time.monotonic() + timeout_s
        while not self._waiting:
            left_s = max(0.0, deadline - time.monotonic())
            data = self._line.read(left_s)
            self._waiting.extend(map(self._understood, self._reader.feed(data)))
            if not self._waiting and (not data or time.monotonic() >= deadline):
                return None
        heard = self._waiting.popleft()
        if self.met and heard.reply.kind in ("init-done", "timestamp-mode"):
            raise SystemFault(
                f"the board at {self.address} reset in the middle (it said {heard.reply.text!r} "
                f"again): look at its supply, its watchdog and its stack; last lines: {self._last()}"
            )
        return heard

    def _understood(self, line: str) -> Heard:
        at_ns = self._tell("received", line)
        self._last_lines.append(line)
        try:
            return Heard(at_ns, wire.parse(line))
        except ProtocolError as error:
            forwarded = wire.FORWARDED in line
            return Heard(at_ns, Reply("garbled", str(error), (), line, forwarded))

    def _tell(self, direction: Direction, text: str) -> int:
        at_ns = time.monotonic_ns()
        if self._observer is not None:
            self._observer(direction, at_ns, text)
        return at_ns

    def _account(self, sent: str, awaited: str, why: str) -> str:
        return (
            f"the board at {self.address}: {why}; sent {sent!r}, awaited {awaited}; "
            f"last lines: {self._last()}"
        )

    def _last(self) -> str:
        lines = [line[:100] for line in self._last_lines]
        if self._reader.rest():
            lines.append(self._reader.rest()[-100:] + " (not ended)")
        return " | ".join(lines) or "none at all"


def first(heard: Sequence[Heard], kind: Kind) -> Reply | None:
    """The first line of this kind."""
    return next((each.reply for each in heard if each.reply.kind == kind), None)


def complaint(heard: Sequence[Heard]) -> str:
    """What is wrong with an answer: the board's error, or a line that means nothing."""
    for each in heard:
        if each.reply.kind == "error":
            return f"it answered {each.reply.text!r}"
        if each.reply.kind == "garbled":
            return each.reply.name
    return ""


def _refused(heard: Sequence[Heard], refusals: Sequence[str]) -> bool:
    error = first(heard, "error")
    return error is not None and error.name.startswith(tuple(refusals))

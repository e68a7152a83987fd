"""An input brought to a board in chunks, and seen to have arrived whole.

At high rates ports drop or double characters (mlcommons/tiny#79). A refused chunk is sent again; where
more was lost, or what is read back differs, the whole load is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from gnomon.core.errors import SystemFault
from gnomon.device.conversation import (
    NOTHING_DONE,
    BoardSilentError,
    Conversation,
    complaint,
    first,
)
from gnomon.device.wire import chunk_commands

MOST_LOADS = 5
MOST_CALLS = 2
NOTHING_STORED = (*NOTHING_DONE, "Insuffic", "Command 'db' requires")
"""Errors after which a chunk can be sent again: an odd number of digits is refused before any is used."""
SHORTEST_WAIT_S = 1.0
WAIT_RATIO = 20
PRINTED_BYTES_PER_S = 100.0
"""Far fewer than a line of 9600 baud prints."""


@dataclass(frozen=True)
class Loading:
    """How a payload was loaded.

    Attributes:
        size: Bytes.
        loads: How often the whole was sent.
        resent: Commands sent again within them.
        verified: Whether it was read back and was the same.
    """

    size: int
    loads: int
    resent: int
    verified: bool


def load(conversation: Conversation, payload: bytes, chunk_bytes: int, *, verify: bool) -> Loading:
    """Load a payload.

    Args:
        conversation: With the board.
        payload: What it is to infer on.
        chunk_bytes: How much one command carries.
        verify: Whether to read it back even if nothing went wrong; else that is done in doubt only.

    Raises:
        SystemFault: The board refuses it, does not answer, or something is lost each time.
    """
    resent, trouble = conversation.resent, ""
    for loads in range(1, MOST_LOADS + 1):
        before, verified = conversation.resent, False
        try:
            trouble = _load_once(conversation, payload, chunk_bytes)
            doubtful = conversation.resent > before
            if not trouble and (verify or doubtful):
                verified, trouble = _compare(conversation, payload)
        except BoardSilentError as silence:
            trouble = str(silence)
            _resume(conversation, silence)
        if not trouble:
            return Loading(len(payload), loads, conversation.resent - resent, verified)
    raise SystemFault(
        f"the board at {conversation.address} did not take {len(payload)} bytes in {MOST_LOADS} loads: "
        f"characters are lost or doubled on the line; set a lower baud rate (the last time: {trouble})"
    )


def _load_once(conversation: Conversation, payload: bytes, chunk_bytes: int) -> str:
    """Send it; what went wrong, or nothing."""
    size = len(payload)
    heard = conversation.ask(f"db load {size}")
    error, expecting = first(heard, "error"), first(heard, "expecting")
    if error is not None and "exceeds" in error.name and f" {size} " in error.name:
        raise SystemFault(
            f"the board at {conversation.address} has no room for {size} bytes: it answered "
            f"{error.text!r}; is its firmware of another benchmark?"
        )
    if complaint(heard):
        return complaint(heard)
    if expecting is not None and expecting.values != (size,):
        return f"it expects {expecting.values[0]:.0f} bytes of {size}"
    commands = chunk_commands(payload, chunk_bytes)
    slowest_s = conversation.command_timeout_s / WAIT_RATIO
    for place, text in enumerate(commands):
        start = time.monotonic()
        wait_s = min(conversation.command_timeout_s, max(SHORTEST_WAIT_S, WAIT_RATIO * slowest_s))
        heard = conversation.ask(text, wait_s, refusals=NOTHING_STORED)
        answer_s = time.monotonic() - start
        slowest_s = answer_s if place == 0 else max(slowest_s, answer_s)
        if complaint(heard):
            return complaint(heard)
        done, last = first(heard, "load-done") is not None, place == len(commands) - 1
        if last and not done:  # the answer of a stray command may have been taken for this one's
            done = first(conversation.settle(), "load-done") is not None
        if done != last:
            return f"it counted {'too few' if last else 'too many'} bytes by chunk {place + 1}"
    return ""


def _compare(conversation: Conversation, payload: bytes) -> tuple[bool, str]:
    """Read back what the board holds: whether it could be, and how it differs.

    A board that does not know `db print` leaves the count that it keeps as the only evidence.
    """
    longest_s = conversation.command_timeout_s + len(payload) / PRINTED_BYTES_PER_S
    for _ in range(2):  # what differs may have been lost on the way back
        heard = conversation.ask("db print", total_s=longest_s)
        printed = [each.reply for each in heard if each.reply.kind == "buffer"]
        if not printed and not any(each.reply.kind == "garbled" for each in heard):
            return False, ""
        held = bytes(int(value) for reply in printed for value in reply.values)
        if held == payload:
            return True, ""
    place = next(
        (
            index
            for index, pair in enumerate(zip(held, payload, strict=False))
            if len(set(pair)) > 1
        ),
        min(len(held), len(payload)),
    )
    return False, f"it holds {len(held)} bytes of {len(payload)}, different from byte {place} on"


def _resume(conversation: Conversation, silence: BoardSilentError) -> None:
    """Come to terms again with a board that did not answer; if it is dead, that is the fault.

    A lost `%` leaves a command open; any other command ends it, and may be refused with it.
    """
    for _ in range(MOST_CALLS):
        try:
            conversation.ask("name")
            conversation.settle()
            return
        except BoardSilentError:
            pass
    raise silence

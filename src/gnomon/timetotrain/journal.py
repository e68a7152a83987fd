"""The journal of one training run: what happened, at which monotonic and wall time, a line each.

It is the raw record that every figure is made from. A line is on its way to the disk before the run goes on,
so that a process that dies leaves all but its last moment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon.core.clocks import read_clocks
from gnomon.core.errors import DataError

JOURNAL_FILE = "journal.jsonl"
INIT_START = "init_start"
RUN_START = "run_start"
DATA_TOUCHED = "data_touched"
EPOCH_START = "epoch_start"
EPOCH_STOP = "epoch_stop"
EVALUATION = "evaluation"
RUN_STOP = "run_stop"
CHECKPOINT = "checkpoint"
REEVALUATION = "reevaluation"
FAULT = "fault"


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        name: What.
        monotonic_ns: When, on the clock that durations are taken from.
        wall_ns: When, since the epoch.
        values: The rest of it.
    """

    name: str
    monotonic_ns: int
    wall_ns: int
    values: Mapping[str, Any] = field(default_factory=dict)


EventObserver = Callable[[Event], None]


class Journal:
    """Appends to a journal file; without a folder (a process that is not the first) to nowhere.

    Args:
        folder: Of the run.
        observer: Told of every event as well.

    Raises:
        OSError: As the file system says it.
    """

    def __init__(self, folder: Path | None, observer: EventObserver | None = None) -> None:
        self._observer = observer
        self._file = (
            os.open(folder / JOURNAL_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            if folder
            else None
        )

    def write(self, name: str, *, at: tuple[int, int] | None = None, **values: Any) -> Event:
        """Note an event, now or at a monotonic and a wall time that were read before."""
        monotonic_ns, wall_ns = at or read_clocks()
        event = Event(name, monotonic_ns, wall_ns, values)
        if self._file is not None:
            line = {"event": name, "monotonic_ns": monotonic_ns, "wall_ns": wall_ns} | values
            os.write(self._file, json.dumps(line).encode() + b"\n")
        if self._observer is not None:
            self._observer(event)
        return event

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_journal(folder: Path) -> list[Event]:
    """All events, oldest first; a last line that was cut short by a death is left out.

    Raises:
        DataError: There is no journal, or a line of it means nothing.
    """
    path = folder / JOURNAL_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return [
        _event(line, f"{path}, line {number}")
        for number, line in enumerate(data.split(b"\n")[:-1], start=1)
    ]


class Tail:
    """Reads what is added to a journal while another process writes it."""

    def __init__(self, folder: Path) -> None:
        self._path, self._offset = folder / JOURNAL_FILE, 0

    def news(self) -> Iterator[Event]:
        """The events since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            yield _event(line, str(self._path))


def _event(line: bytes, place: str) -> Event:
    try:
        values = json.loads(line)
        return Event(
            values.pop("event"), int(values.pop("monotonic_ns")), int(values.pop("wall_ns")), values
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{place} is damaged: {line[:80].decode(errors='replace')!r}") from None

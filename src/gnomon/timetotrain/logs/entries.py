"""Entries of a training log in one form, whatever dialect they were written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

POINT_IN_TIME = "POINT_IN_TIME"
INTERVAL_START = "INTERVAL_START"
INTERVAL_END = "INTERVAL_END"


class Dialect(StrEnum):
    """How entries are written, by the round that began it."""

    V05 = "v0.5"
    V06 = "v0.6"
    MLLOG = "v0.7"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry, in the words of the present dialect.

    Attributes:
        key: What it is about; tags of v0.5 are translated where a later key means the same.
        value: Number, text, bool, None, list or mapping.
        time_ms: Milliseconds since the epoch.
        event_type: POINT_IN_TIME, INTERVAL_START or INTERVAL_END; v0.5 and v0.6: told by the key's ending.
        metadata: `file`, `lineno` and what else was logged: `epoch_num` (v0.5 counts from 0, later from 1),
            `samples_count`, `status`.
        line: Line of the file, from 1.
        dialect: How it was written.
        logged_key: The key as it stands in the file.
    """

    key: str
    value: Any
    time_ms: float
    event_type: str
    metadata: Mapping[str, Any]
    line: int
    dialect: Dialect
    logged_key: str


@dataclass(frozen=True)
class TrainingLog:
    """A log as read.

    Attributes:
        path: The file.
        entries: What was kept, in the file's order.
        dialects: How many entries there are of each dialect, kept or not.
        line_count: Lines of the file.
        malformed: How many places looked like entries and were none.
        first_malformed: The first of them with its line number; empty if none.
        named_by_lines: The benchmark that v0.5 names in every line; empty in later dialects.
    """

    path: Path
    entries: tuple[LogEntry, ...]
    dialects: Mapping[Dialect, int] = field(default_factory=dict)
    line_count: int = 0
    malformed: int = 0
    first_malformed: str = ""
    named_by_lines: str = ""

    @property
    def dialect(self) -> Dialect | None:
        """The dialect of most entries; None if there is no entry."""
        return max(self.dialects, key=lambda one: self.dialects[one], default=None)

    @property
    def benchmark(self) -> str:
        """The benchmark that the log itself names; empty if it names none."""
        said = self.first("submission_benchmark")
        return said.value if said and isinstance(said.value, str) else self.named_by_lines

    def all(self, key: str) -> tuple[LogEntry, ...]:
        """Every kept entry of this key, in order."""
        return tuple(entry for entry in self.entries if entry.key == key)

    def first(self, key: str) -> LogEntry | None:
        """The first kept entry of this key."""
        return next((entry for entry in self.entries if entry.key == key), None)


def event_type_of(key: str) -> str:
    """The type of event that a key's ending tells."""
    if key.endswith("_start"):
        return INTERVAL_START
    return INTERVAL_END if key.endswith("_stop") else POINT_IN_TIME

"""The field's log lines: `:::MLLOG {json}`, read and written, and the free-text lines of older rounds.

Reading is tolerant but never silent: a line that starts like a log line and means nothing is counted,
and the first one is quoted with its number.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError

PREFIX = ":::MLLOG "
NAMESPACE = "mlperf::logging"
POINT_IN_TIME = "POINT_IN_TIME"
_V05_LINE = re.compile(
    r'^"pid": (?P<pid>\d+), "tid": (?P<tid>\d+), "ts": (?P<ts>\d+)ns : (?P<text>.*)$'
)


@dataclass(frozen=True)
class LogLine:
    """One entry of a log.

    Attributes:
        key: What it is about.
        value: Number, text, bool, list or mapping.
        time_ms: Milliseconds since the start of the log (MLLOG: since the epoch in training logs).
        metadata: Where it was written, and `is_error` / `is_warning`.
        event_type: POINT_IN_TIME, INTERVAL_START or INTERVAL_END.
        number: Line number in the file, from 1; 0 if not from a file.
    """

    key: str
    value: Any
    time_ms: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict)
    event_type: str = POINT_IN_TIME
    number: int = 0

    @property
    def is_error(self) -> bool:
        """Whether the writer marked it as an error."""
        return bool(self.metadata.get("is_error"))

    @property
    def is_warning(self) -> bool:
        """Whether the writer marked it as a warning."""
        return bool(self.metadata.get("is_warning"))


@dataclass(frozen=True)
class Log:
    """A log as read.

    Attributes:
        lines: The entries in order.
        malformed: How many lines looked like entries and were none.
        first_malformed: The first of them, with its number; empty if none.
    """

    lines: tuple[LogLine, ...]
    malformed: int = 0
    first_malformed: str = ""

    def last(self, key: str) -> Any:
        """The value of the last entry with this key, or None."""
        return next((line.value for line in reversed(self.lines) if line.key == key), None)


def format_line(line: LogLine) -> str:
    """The entry as text, without a line end. Doubles carry six significant digits, as the field's do."""
    entry = {
        "key": line.key,
        "value": six_digits(line.value),
        "time_ms": round(line.time_ms, 6),
        "namespace": NAMESPACE,
        "event_type": line.event_type,
        "metadata": line.metadata,
    }
    return PREFIX + json.dumps(entry)


def read_log(path: Path) -> Log:
    """Read a detail log in the MLLOG or the v0.5 dialect; other text is skipped.

    Raises:
        DataError: The file is missing, empty or holds no entry at all.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    lines: list[LogLine] = []
    malformed, first = 0, ""
    for number, raw in enumerate(text.splitlines(), start=1):
        if not raw.startswith((":::", '"pid"')):
            continue
        parsed = _parse(raw, number)
        if parsed is None:
            malformed += 1
            first = first or f"line {number}: {raw[:120]}"
        else:
            lines.append(parsed)
    if not lines:
        raise DataError(f"{path} holds no log entry: it is empty, cut short or of another kind")
    return Log(tuple(lines), malformed, first)


def _parse(raw: str, number: int) -> LogLine | None:
    old = _V05_LINE.match(raw)
    if old:
        key, _, rest = old["text"].partition(" : ")
        metadata = {"pid": int(old["pid"]), "tid": int(old["tid"])}
        return LogLine(key.strip(), rest.strip(), int(old["ts"]) / 1e6, metadata, number=number)
    if not raw.startswith(PREFIX):
        return None
    try:
        entry = json.loads(raw[len(PREFIX) :])
        metadata = entry.get("metadata") or {}
        if not isinstance(entry["key"], str) or not isinstance(metadata, dict):
            return None
        return LogLine(
            entry["key"],
            entry["value"],
            float(entry["time_ms"]),
            metadata,
            entry.get("event_type", POINT_IN_TIME),
            number,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def six_digits(value: Any) -> Any:
    """A value as it stands in a log: doubles are cut to six significant digits."""
    if isinstance(value, float):
        rounded = float(f"{value:.6g}")
        return int(rounded) if rounded.is_integer() and abs(rounded) < 1e6 else rounded
    return value

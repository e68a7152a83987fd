"""Training logs written: `:::MLLOG` lines, character for character as the field's logger writes them.

The field's logger finds the calling file and line by itself. Here they are given: seeds are held against each
other by the place that logged them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gnomon.core.errors import RunFolderError, UsageError
from gnomon.core.files import write_atomically
from gnomon.timetotrain.logs.entries import (
    INTERVAL_END,
    INTERVAL_START,
    POINT_IN_TIME,
    Dialect,
    LogEntry,
)

PREFIX = ":::MLLOG "
EVENT_TYPES = (INTERVAL_START, INTERVAL_END, POINT_IN_TIME)


def training_entry(
    key: str,
    value: Any = None,
    *,
    time_ms: float | None = None,
    file: str = "",
    lineno: int = 0,
    metadata: Mapping[str, Any] | None = None,
    event_type: str | None = None,
) -> LogEntry:
    """An entry to be written.

    Args:
        key: As the rules name it (`eval_accuracy`).
        value: What JSON can hold.
        time_ms: Milliseconds since the epoch; now if None.
        file: Source file that logs it.
        lineno: Its line there.
        metadata: What else belongs to it (`epoch_num`, `samples_count`, `status`).
        event_type: INTERVAL_START, INTERVAL_END or POINT_IN_TIME; None: by the key's ending.

    Raises:
        UsageError: There is no such type of event.
    """
    if event_type is None:
        event_type = POINT_IN_TIME
        if key.endswith("_start"):
            event_type = INTERVAL_START
        elif key.endswith("_stop"):
            event_type = INTERVAL_END
    elif event_type not in EVENT_TYPES:
        raise UsageError(f"event_type must be one of {', '.join(EVENT_TYPES)}, got {event_type!r}")
    now_ms = time.time() * 1e3 if time_ms is None else time_ms
    where = {"file": file, "lineno": lineno, **(metadata or {})}
    return LogEntry(key, value, now_ms, event_type, where, 0, Dialect.MLLOG, key)


def format_training_line(entry: LogEntry, namespace: str = "") -> str:
    """The entry as one line, without a line end.

    Order of the fields, whole milliseconds and `file` and `lineno` first in the metadata are the logger's
    (mlcommons/logging, mllog, `_encode_log`); NumPy's numbers and arrays become JSON's.

    Raises:
        UsageError: JSON cannot hold the value or the metadata.
    """
    record = {
        "namespace": namespace,
        "time_ms": int(entry.time_ms),
        "event_type": entry.event_type,
        "key": entry.key,
        "value": entry.value,
        "metadata": dict(entry.metadata),
    }
    try:
        return PREFIX + json.dumps(record, default=_as_json)
    except (TypeError, ValueError) as error:
        raise UsageError(f"entry {entry.key!r} cannot be logged: {error}") from None


def write_log(path: Path | str, entries: Iterable[LogEntry]) -> None:
    """Write a whole log, or leave the file as it was.

    Raises:
        RunFolderError: The file cannot be written.
        UsageError: JSON cannot hold an entry.
    """
    text = "".join(f"{format_training_line(entry)}\n" for entry in entries)
    try:
        write_atomically(Path(path), text.encode())
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror or error}") from None


def _as_json(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()  # a NumPy number or array, or a tensor
    raise TypeError(f"{type(value).__name__} is no JSON value")

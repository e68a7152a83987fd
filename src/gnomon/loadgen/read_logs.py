"""Read the field's logs, those of other tools included, as what they claim: scenario, validity, figures.

The detail log is believed before the summary. Rounds since v0.7 write MLLOG lines; v0.5 wrote free text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.mllog import Log, read_log
from gnomon.loadgen.logs import DETAIL_FILE, SUMMARY_FILE

HEADLINES = {
    "SingleStream": "early_stopping_latency_ss",
    "MultiStream": "early_stopping_latency_ms",
    "Server": "result_completed_samples_per_sec",
    "Offline": "result_samples_per_second",
}
_SUMMARY_FIGURE = re.compile(r"^(?P<name>[A-Za-z0-9.][^:=]*?)\s*:\s*(?P<value>[0-9.e+-]+)$")
_ERRORS_COUNTED = re.compile(r"errors? encountered", re.IGNORECASE)
_COUNTED = re.compile(r"^(?P<count>\d+) (?P<kind>ERROR|warning)s? encountered", re.IGNORECASE)


@dataclass(frozen=True)
class FieldLog:
    """What a log folder claims.

    Attributes:
        path: The folder.
        scenario, mode: As the field names them (`Server`, `PerformanceOnly`).
        validity: `VALID`, `INVALID`, or None where the log states none (accuracy tests).
        metrics: The headline figure and every `result_*` figure, by key.
        settings: Effective settings by key, without the prefix.
        errors, warnings: The messages, or one remark with their number if only the summary is there.
        writer: Who wrote it.
    """

    path: Path
    scenario: str
    mode: str
    validity: str | None
    metrics: Mapping[str, Any]
    settings: Mapping[str, Any]
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    writer: str = field(default="unknown")

    def __str__(self) -> str:
        """What the logs claim, in a line."""
        words = f"{self.scenario}, {self.mode}, written by {self.writer}"
        key = HEADLINES.get(self.scenario, "")
        return f"{words}: {key} {self.metrics[key]}" if key in self.metrics else words


def read_log_folder(path: Path) -> FieldLog:
    """Read the logs in a folder.

    Raises:
        DataError: There are none, or they mean nothing; the message names file and line.
    """
    detail, summary = path / DETAIL_FILE, path / SUMMARY_FILE
    if detail.exists():
        log = read_log(detail)
        if log.malformed:
            raise DataError(
                f"{detail} has {log.malformed} malformed line(s), the first at {log.first_malformed!r}: "
                f"the log was damaged or cut short"
            )
        return _from_detail(path, log, summary)
    if summary.exists():
        return _from_summary(path, summary)
    raise DataError(f"{path} holds neither {DETAIL_FILE} nor {SUMMARY_FILE}")


def _from_detail(path: Path, log: Log, summary: Path) -> FieldLog:
    if log.last("effective_scenario") is None:
        if summary.exists():  # v0.5: the detail log is free text, the summary has the verdict
            return _from_summary(path, summary)
        raise DataError(f"{path / DETAIL_FILE} names no scenario: it was cut short")
    metrics = {
        line.key: line.value
        for line in log.lines
        if line.key.startswith(("result_", "early_stopping_"))
    }
    settings = {
        line.key.removeprefix("effective_"): line.value
        for line in log.lines
        if line.key.startswith("effective_")
    }
    mode = str(log.last("effective_test_mode"))
    if "result_validity" in metrics and "result_99.90_percentile_latency_ns" not in metrics:
        raise DataError(f"{path / DETAIL_FILE} ends before its last figure: it was cut short")
    validity = log.last("result_validity")
    if validity is None and mode != "AccuracyOnly":
        validity = "INVALID"  # a performance test that never came to its result
    return FieldLog(
        path,
        str(log.last("effective_scenario")),
        mode,
        validity,
        metrics,
        settings,
        tuple(str(line.value) for line in log.lines if line.is_error),
        tuple(str(line.value) for line in log.lines if line.is_warning),
        str(log.last("loadgen_version") or "unknown"),
    )


def _from_summary(path: Path, summary: Path) -> FieldLog:
    try:
        lines = summary.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{summary} cannot be read: {error.strerror}") from None
    fields: dict[str, str] = {}
    figures: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    counted: dict[str, tuple[str, ...]] = {"error": (), "warning": ()}
    part = ""
    for line in lines:
        name, colon, value = line.strip().partition(":")
        if line.startswith(("Additional", "Test Parameters")):
            part = line
        if match := _COUNTED.match(line):
            counted[match["kind"].lower()] = (f"{match['count']} in all; see the detail log",)
        elif match := _SUMMARY_FIGURE.match(line.strip()):
            target = parameters if part.startswith("Test") else figures
            target[match["name"].strip()] = _number(match["value"])
        elif colon and part.startswith("Test") and value.strip() in ("true", "false"):
            parameters[name.strip()] = value.strip() == "true"
        elif colon:
            fields[name.strip()] = value.strip()
    if "Scenario" not in fields:
        raise DataError(
            f"{summary} names no scenario: it is empty (an accuracy test's is), cut short, or no summary"
        )
    if not _ERRORS_COUNTED.search("\n".join(lines[-3:])):
        raise DataError(f"{summary} ends before it counts its errors: it was cut short")
    return FieldLog(
        path,
        fields["Scenario"].replace(" ", ""),
        fields.get("Mode", "unknown").replace(" ", ""),
        fields.get("Result is", "INVALID"),
        figures,
        parameters,
        counted["error"],
        counted["warning"],
    )


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

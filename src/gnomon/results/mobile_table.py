"""Rows of the mobile history as people and programs read them: cells of a table, JSON, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from gnomon.core.units import format_duration_ns, format_rate
from gnomon.loadgen.settings import Scenario
from gnomon.results.mobile_history import COLUMNS
from gnomon.results.mobile_rows import CLAIMED, ResultRow

STAND_IN = "stand-in data"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With these a spreadsheet takes a cell for a formula."""


@dataclass(frozen=True)
class Cells:
    """A row in words."""

    row: ResultRow
    when: str
    p90: str
    throughput: str
    quality: str
    asked: str
    data: str


def cells_of(row: ResultRow) -> Cells:
    """The row's figures in words; what was not measured is empty."""
    return Cells(
        row=row,
        when=f"{datetime.fromisoformat(row.started_at):%Y-%m-%d %H:%M}",
        p90="" if row.p90_ns is None else format_duration_ns(row.p90_ns),
        throughput=rate_text(row.throughput, row.scenario),
        quality=quality_text(row.quality, row.unit),
        asked=quality_text(row.threshold, row.unit),
        data=_data_in_words(row),
    )


def _data_in_words(row: ResultRow) -> str:
    if not row.official:
        return STAND_IN
    return "official data, as claimed" if row.source == CLAIMED else "official data"


def rate_text(value: float | None, scenario: str) -> str:
    """A throughput with its unit."""
    unit = "samples/s" if scenario == Scenario.OFFLINE.value else "queries/s"
    return "" if value is None else format_rate(value, unit)


def quality_text(value: float | None, unit: str) -> str:
    """A quality with its unit, if it has one."""
    if value is None:
        return ""
    return f"{value:.2f} {unit}" if unit else f"{value:.4f}"


def value_text(value: float | None, unit: str) -> str:
    """Any figure of a comparison."""
    if value is None:
        return "not measured"
    if unit == "ns":
        return format_duration_ns(value)
    return format_rate(value, unit) if unit.endswith("/s") else quality_text(value, unit)


def as_json(rows: Sequence[ResultRow], notes: Sequence[str] = ()) -> dict[str, Any]:
    """Rows and notes, ready for JSON."""
    return {"results": [asdict(row) for row in rows], "notes": list(notes)}


def as_csv(rows: Sequence[ResultRow]) -> str:
    """One line a row under the names of its fields (RFC 4180).

    Names come from other machines: those that a spreadsheet would run are marked as text.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(_cell(value) for value in asdict(row).values())
    return text.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value

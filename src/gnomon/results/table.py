"""A run as a table for the terminal: each measurement's figures and verdict, then what to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gnomon.core.run import Run
from gnomon.core.units import (
    format_count,
    format_dollars,
    format_duration_ns,
    format_energy,
    format_rate,
    format_seconds,
)
from gnomon.core.verdict import Verdict
from gnomon.loadgen.find_peak import is_probe
from gnomon.results.fleet_figures import fleet_figures
from gnomon.results.system_label import run_title
from gnomon.results.tiny_figures import tiny_figures
from gnomon.results.training_figures import run_cells, training_figures

COLOURS = {"VALID": "bold green", "INVALID": "bold red"}


def run_view(run: Run) -> RenderableType:
    """Everything a person wants to see of a run at once."""
    verdict = run.verdict
    tables = TABLES.get(run.record["protocol"], _load_tables)(run)
    return Group(
        Text(run_title(run.record), style="bold"),
        *tables,
        verdict_line(verdict),
        *failure_lines(verdict),
    )


def _fleet_tables(run: Run) -> list[RenderableType]:
    """One figure a line: a federation has many, and they are words as often as numbers."""
    rows = []
    for stored in run.measurements.values():
        rows += figures("fleet", stored["result"])
        if stored["result"] is None:
            rows.append(("federation", "no result: it was broken off"))
    return [_pairs(rows)]


def _training_tables(run: Run) -> list[RenderableType]:
    """Every run in a line, then the figures of all."""
    tables: list[RenderableType] = []
    for stored in run.measurements.values():
        result = stored["result"]
        if result is None:
            tables.append(Text("no run was finished", style="dim"))
            continue
        each = Table(header_style="bold")
        for title in ("run", "seed", "time", "epochs", "quality", "samples/s"):
            each.add_column(title, justify="right", no_wrap=True)
        each.add_column("ended")
        for row in result["each"]:
            each.add_row(*run_cells(row))
        tables.append(each)
        tables.append(_pairs(figures("timetotrain", result)))
    return tables


def _pairs(rows: list[tuple[str, str]]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column("figure", style="bold", no_wrap=True)
    table.add_column("value", overflow="fold")
    for label, text in rows:
        table.add_row(label, text)
    return table


def _device_tables(run: Run) -> list[RenderableType]:
    """What a board was measured for, a line each, and what it says of itself."""
    table = Table(header_style="bold")
    table.add_column("measurement", no_wrap=True)
    table.add_column("result", justify="right", no_wrap=True)
    table.add_column("per inference", justify="right", no_wrap=True)
    table.add_column("inferences", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    boards = []
    for name, stored in run.measurements.items():
        result = stored["result"]
        told = f"{stored['board']['name']}, {stored['board']['address']}"
        boards += [told] if told not in boards else []
        verdict = _word(run.verdict.of(name))
        if result is None:
            table.add_row(name, "no result", "", "", verdict)
            continue
        rows = dict(tiny_figures(result))
        count = result.get("inference_count", result["sample_count"])
        headline = next(iter(rows.values()))
        if "quality" in result:
            headline = f"{result['metric']['name']} {headline}"
        each = rows.get("time per inference", "")
        table.add_row(name, headline, each, format_count(count), verdict)
    tables: list[RenderableType] = [table] if boards else []
    return [*tables, *(Text(f"board: {board}", style="dim") for board in boards)]


def _load_tables(run: Run) -> list[RenderableType]:
    verdict = run.verdict
    table = Table(header_style="bold")
    table.add_column("measurement", no_wrap=True)
    table.add_column("result", justify="right")
    table.add_column("p50", justify="right", no_wrap=True)
    table.add_column("p99", justify="right", no_wrap=True)
    table.add_column("samples", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    probes = 0
    for name, stored in run.measurements.items():
        if is_probe(name):
            probes += 1
            continue
        table.add_row(name, *_cells(stored["result"]), _word(verdict.of(name)))
    if not probes:
        return [table]
    return [table, Text(f"{probes} probes led to the server rate; see the report", style="dim")]


def verdict_line(verdict: Verdict) -> Text:
    """`VALID under quick rules`, coloured, with its remark."""
    line = Text(str(verdict), style=COLOURS[verdict.word])
    if verdict.remark:
        line.append(f" ({verdict.remark})", style="dim")
    return line


def failure_lines(verdict: Verdict) -> list[Text]:
    """One line a failed check: what was found, what was required, what to change."""
    lines = []
    for check in verdict.failures:
        place = f"{check.measurement}: " if check.measurement else ""
        line = Text("  ✗ ", style="red")
        line.append(f"{place}{check.name.replace('_', ' ')}", style="bold")
        line.append(f": {check.found}; required: {check.required}. ")
        line.append(sentence(check.why), style="yellow")
        lines.append(line)
    return lines


def sentence(words: str) -> str:
    """Words with a capital at the start, the rest as it is."""
    return words[:1].upper() + words[1:]


def figures(protocol: str, result: dict[str, Any] | None) -> list[tuple[str, str]]:
    """The figures of a measurement as (label, text), the headline first; empty without a result."""
    return [] if result is None else FIGURES.get(protocol, _load_figures)(result)


def _load_figures(result: dict[str, Any]) -> list[tuple[str, str]]:
    label = result["metric"]["name"]
    if (result.get("early_stopping") or {}).get("estimate_ns") is not None:
        label += " at 99 % confidence"  # the measured percentile has a row of its own
    rows = [(label, headline(result))]
    if "target" in result:
        rows.append(("target", f"{result['target']:.4f}"))
    if "latency" in result and result["query_count"] > 1:
        for key, value in result["latency"].items():
            label = key.removesuffix("_ns").replace("_", ".")
            rows.append((label, format_duration_ns(value)))
    for key, unit in (
        ("queries_per_second", "queries/s"),
        ("scheduled_samples_per_second", "queries/s"),
    ):
        if key in result:
            rows.append((key.replace("_", " "), format_rate(result[key], unit)))
    if result.get("query_count", 1) > 1:
        rows.append(("queries", format_count(result["query_count"])))
    rows.append(("samples", format_count(result["sample_count"])))
    if "duration_ns" in result:
        rows.append(("duration", format_duration_ns(result["duration_ns"])))
    return rows


FIGURES: dict[str, Callable[[dict[str, Any]], list[tuple[str, str]]]] = {
    "load": _load_figures,
    "fleet": fleet_figures,
    "device": tiny_figures,
    "timetotrain": training_figures,
}
"""By protocol: the figures of a result."""


TABLES: dict[str, Callable[[Run], list[RenderableType]]] = {
    "load": _load_tables,
    "fleet": _fleet_tables,
    "device": _device_tables,
    "timetotrain": _training_tables,
}
"""By protocol: a run's measurements on the terminal."""


def headline(result: dict[str, Any]) -> str:
    """The metric's value with its unit."""
    metric = result["metric"]
    by_unit = {
        "ns": format_duration_ns,
        "s": format_seconds,
        "J": format_energy,
        "$": format_dollars,
    }
    if metric["unit"] in by_unit:
        return by_unit[metric["unit"]](metric["value"])
    if metric["unit"].endswith("/s"):
        return format_rate(metric["value"], metric["unit"])
    return f"{metric['value']:.4f} {metric['unit']}".strip()


def _word(verdict: Verdict) -> Text:
    if not verdict.checks:
        return Text("unfinished", style="dim")
    return Text(verdict.word, style=COLOURS[verdict.word])


def _cells(result: dict[str, Any] | None) -> tuple[str, str, str, str]:
    """Result, p50, p99, samples."""
    if result is None:
        return "no result", "", "", ""
    text = headline(result)
    name = result["metric"]["name"]
    if result["metric"]["unit"] == "ns" or "quality" in result:
        text = f"{name.split()[0]} {text}"
    if "latency" not in result or result["query_count"] == 1:
        return text, "", "", format_count(result["sample_count"])
    latency = result["latency"]
    return (
        text,
        format_duration_ns(latency["p50_ns"]),
        format_duration_ns(latency["p99_ns"]),
        format_count(result["sample_count"]),
    )

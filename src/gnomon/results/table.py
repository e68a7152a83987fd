"""A run as a table for the terminal: each measurement's figures and verdict, then what to change."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gnomon.core.run import Run
from gnomon.core.units import format_count, format_duration_ns, format_rate
from gnomon.core.verdict import Verdict

COLOURS = {"VALID": "bold green", "INVALID": "bold red"}


def run_view(run: Run) -> RenderableType:
    """Everything a person wants to see of a run at once."""
    verdict = run.verdict
    record = run.record
    title = f"{record['benchmark']['title']} on {record['system']['name']}"
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column("measurement", no_wrap=True)
    table.add_column("result", justify="right", no_wrap=True)
    table.add_column("p50", justify="right", no_wrap=True)
    table.add_column("p99", justify="right", no_wrap=True)
    table.add_column("samples", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    probes = 0
    for name, stored in run.measurements.items():
        if "-probe-" in name:
            probes += 1
            continue
        table.add_row(name, *_cells(stored["result"]), _word(verdict.of(name)))
    parts: list[RenderableType] = [table, verdict_line(verdict)]
    if probes:
        parts.append(Text(f"{probes} probes led to the server rate; see the report", style="dim"))
    parts.extend(failure_lines(verdict))
    return Group(*parts)


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
        line.append(check.why, style="yellow")
        lines.append(line)
    return lines


def _word(verdict: Verdict) -> str:
    if not verdict.checks:
        return "[dim]unfinished[/dim]"
    return f"[{COLOURS[verdict.word]}]{escape(verdict.word)}[/]"


def _cells(result: dict[str, Any] | None) -> tuple[str, str, str, str]:
    """Result, p50, p99, samples."""
    if result is None:
        return "no result", "", "", ""
    metric = result["metric"]
    if "quality" in result:
        text = f"{metric['name']} {metric['value']:.4f}"
        return text, "", "", format_count(result["sample_count"])
    if metric["unit"] == "ns":
        text = f"{metric['name'].split()[0]} {format_duration_ns(metric['value'])}"
    else:
        text = format_rate(metric["value"], metric["unit"])
    one_query = result["query_count"] == 1
    latency = result["latency"]
    return (
        text,
        "" if one_query else format_duration_ns(latency["p50_ns"]),
        "" if one_query else format_duration_ns(latency["p99_ns"]),
        format_count(result["sample_count"]),
    )

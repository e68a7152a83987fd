"""The figures of a board, in words: for the terminal's table and for the report."""

from __future__ import annotations

from typing import Any

from gnomon.core.units import format_count, format_duration_ns, format_rate


def tiny_figures(result: dict[str, Any]) -> list[tuple[str, str]]:
    """(label, text) in order, the headline first."""
    metric = result["metric"]
    rows = [(metric["name"], tiny_headline(result))]
    if "quality" in result:
        rows.append(("target", f"{result['target']:.4f}"))
        rows.append(("samples", format_count(result["sample_count"])))
        if result["inference_count"] != result["sample_count"]:
            rows.append(("inferences", format_count(result["inference_count"])))
        rows += [(name, str(value)) for name, value in result.get("details", {}).items()]
        return rows
    timed = result.get("timed", result)
    if "latency_ns" in timed:
        rows.append(("time per inference", format_duration_ns(timed["latency_ns"])))
    rows.append(("windows", windows_in_words(timed)))
    rows.append(("inferences in a window", iterations_in_words(timed["iterations"])))
    rows.append(("largest less smallest window", f"{100 * timed['spread']:.2g} % of the median"))
    return rows


def tiny_headline(result: dict[str, Any]) -> str:
    """The metric's value with its unit."""
    value, unit = result["metric"]["value"], result["metric"]["unit"]
    if unit == "instructions":
        return f"{round(value):,} instructions"
    if unit.endswith("/s"):
        return format_rate(value, unit)
    if unit == "µJ":
        return f"{value:.4g} µJ"
    return f"{value:.4f} {unit}".strip()


def windows_in_words(timed: dict[str, Any]) -> str:
    """`5 of 10.9 to 11.0 s by the board's clock`."""
    shortest, longest = f"{min(timed['window_s']):.3g}", f"{max(timed['window_s']):.3g}"
    lengths = shortest if shortest == longest else f"{shortest} to {longest}"
    return f"{timed['window_count']} of {lengths} s by the board's clock"


def iterations_in_words(iterations: list[int]) -> str:
    """One number, or from the least to the most."""
    least, most = min(iterations), max(iterations)
    return (
        format_count(least) if least == most else f"{format_count(least)} to {format_count(most)}"
    )

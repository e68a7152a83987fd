"""The figures of a campaign of training runs, in words: for the terminal's table and for the report."""

from __future__ import annotations

from typing import Any

from gnomon.core.units import format_count, format_rate, format_seconds


def training_figures(result: dict[str, Any]) -> list[tuple[str, str]]:
    """(label, text) in order, the headline first."""
    metric, epochs = result["metric"], result["epochs_to_target"]
    value = metric["value"]
    rows = [
        (metric["name"], _no_score(result) if value is None else format_seconds(value)),
        *_interval("interval of the time", result["interval"], format_seconds),
        ("runs", _runs(result)),
        ("epochs to target", _epochs(epochs)),
        *_interval("interval of the epochs", epochs["interval"], lambda value: f"{value:.2f}"),
        ("seconds to target", _seconds(result["seconds_to_target"])),
    ]
    if result["samples_per_s"] is not None:
        rows.append(("throughput", format_rate(result["samples_per_s"], "samples/s")))
    if result["evaluation_share"] is not None:
        rows.append(("spent evaluating", f"{100 * result['evaluation_share']:.1f} % of the clock"))
    if result["initialisation_s"] is not None:
        rows.append(("initialisation", f"{format_seconds(result['initialisation_s'])}, untimed"))
    if result["processes"] > 1:
        rows.append(("processes", format_count(result["processes"])))
    needed = _needed(result["runs_needed"])
    if needed:
        rows.append(("runs needed", needed))
    if result["reference"] is not None:
        rows += _reference(result["reference"])
    if result["score_min"] is not None:
        rows.append(("score", _score(result)))
    return rows


REASONS = {
    "target": "at the target",
    "epochs": "too many epochs",
    "patience": "hopeless",
    "duration": "too long",
    "diverged": "diverged",
    "ended": "without the target",
    "raised": "raised an error",
    "died": "died",
}


def run_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A run as a line of a table: run, seed, time, epochs, quality, throughput, how it ended."""
    duration, quality, rate = row["duration_s"], row["quality"], row["samples_per_s"]
    return (
        str(row["run"]),
        str(row["seed"]),
        "" if duration is None else format_seconds(duration),
        f"{row['epochs']:.2f}",
        "" if quality is None else f"{quality:.4f}",
        "" if not rate else format_rate(rate, ""),
        REASONS.get(row["reason"], row["reason"]),
    )


def _no_score(result: dict[str, Any]) -> str:
    return f"no score: {result['why_no_score']}" if result["why_no_score"] else "no score"


def _runs(result: dict[str, Any]) -> str:
    text = f"{result['converged']} of {result['runs']} reached the target {result['target']:.4g}"
    left = ", ".join(f"{each['run']} ({each['reason']})" for each in result["left_out"])
    text += f"; left out: {left}" if left else ""
    window = result["window"]
    return f"{text}; only runs {window[0]} to {window[1]} count" if window else text


def _epochs(epochs: dict[str, Any]) -> str:
    mean, variation = epochs["olympic_mean"], epochs["variation"]
    if mean is None:
        return "not known"
    spread = "" if variation is None else f", variation {100 * variation:.1f} %"
    return f"olympic mean {mean:.2f}{spread}"


def _seconds(seconds: dict[str, Any]) -> str:
    quantiles = seconds["quantiles"]
    if seconds["mean"] is None:
        return "not known"
    low, high = quantiles.get("0"), quantiles.get("1")
    shown = f"mean {format_seconds(seconds['mean'])}"
    if low is not None:
        last = "never" if high is None else format_seconds(high)
        shown += f", from {format_seconds(low)} to {last}"
    if seconds["variation"] is not None:
        shown += f", variation {100 * seconds['variation']:.1f} %"
    return shown


def _interval(label: str, interval: dict[str, Any] | None, shown: Any) -> list[tuple[str, str]]:
    if interval is None:
        return []
    high = "no bound" if interval["high"] is None else shown(interval["high"])
    confidence = f"{100 * interval['confidence']:g} %"
    return [(label, f"{shown(interval['low'])} to {high} ({confidence}, {interval['method']})")]


def _needed(needed: dict[str, int | None]) -> str:
    """How many runs make the score known to within so many per cent."""
    parts = [
        f"{'over 1,000' if count is None else count} for ±{width} %"
        for width, count in needed.items()
    ]
    return ", ".join(parts)


def _reference(reference: dict[str, Any]) -> list[tuple[str, str]]:
    decides = reference["decides"]
    rows = []
    for way, words in (("package", "as the package computes it"), ("written", "as written")):
        numbers = reference[way]
        label = f"reference, {words}"
        if numbers["minimum"] is None:
            rows.append((label, f"compared with {numbers['basis']}"))
            continue
        text = (
            f"{_number(numbers['submission_mean'])} {reference['unit']}, at least "
            f"{numbers['minimum']:.4g} asked (reference {numbers['mean']:.4g} ± {numbers['deviation']:.3g}): "
            f"{'passed' if numbers['passed'] else 'failed'}"
        )
        rows.append((label, text + (", which decides" if way == decides else "")))
    return rows


def _score(result: dict[str, Any]) -> str:
    """In minutes, as the field publishes it."""
    text = f"{result['score_min']:.4g} min"
    factor = result["scale_factor"]
    if factor > 1 + 1e-9:
        text += f", the mean times {factor:.4g} for converging faster than the reference"
    return text


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"

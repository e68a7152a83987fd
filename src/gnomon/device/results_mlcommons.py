"""MLCommons' `results.txt`, written and read, and `results.json`: windows, accuracy, energy, wake words.

Shapes are those of `benchmark/runner` in github.com/mlcommons/tiny (v1.3 and v1.4).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from gnomon.device.logs import (
    FIELDS_WINDOW_S,
    FIELDS_WINDOWS,
    RULE_WIDTH,
    Lines,
    SessionLog,
    SessionResults,
    StreamingResult,
    WindowResult,
)

STAMP = "%m%d.%H%M%S"
"""How the runner writes a time."""

_RULE = "-" * RULE_WIDTH
_NUMBER = r"\s*([-\d.eE+]+)"
_LINES = {
    "iterations": rf"# Inferences\s*:{_NUMBER}|Inferences\s*:{_NUMBER}",
    "duration_s": rf"Runtime\s*:{_NUMBER} sec\.|Elapsed time\s*:{_NUMBER}(?:\s*<<<< .*)?",
    "energy_uj": rf"Total Energy\s*:{_NUMBER} uJ",
    "": rf"Power\s*:{_NUMBER} mW\.?|Energy/Inf\s*:{_NUMBER} uJ/inf|Throughput\s*:{_NUMBER} inf\./sec\.",
    "uj_per_inference": rf"Median energy cost is{_NUMBER} uJ/inf\.",
    "inferences_per_s": rf"Median throughput is{_NUMBER} inf\./sec\.",
    "top_1_percent": rf"Top 1% ={_NUMBER}",
    "auc": rf"AUC ={_NUMBER}",
    "duty_cycle": rf"Average duty cycle:{_NUMBER}",
    "period_s": rf"Average period:{_NUMBER} s",
    "streaming_per_s": rf"Estimated throughput:{_NUMBER} inf\./sec\.",
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _LINES.items()}
_DETECTIONS = re.compile(
    r"Accuracy: (\d+) True positives, (\d+) False negatives, (\d+) False positives"
)
_WITHOUT_NUMBERS = re.compile(
    r"Performance results for window \d+|Energy data for trial \d+|-+|Power Edition Output"
    r"|Runtime requirements have been met\.|ERROR \d - .*|No duty cycle data recorded"
)
_STAMPED = re.compile(r"\d{4}\.\d{6} +ulp-mlperf: *(.*)")


def write_results(results: SessionResults, at: datetime) -> str:
    """The text of `results.txt`.

    Args:
        results: Of any mode.
        at: When they were made.
    """
    return "\n".join(_results_lines(results, at.strftime(STAMP))) + "\n"


def _results_lines(results: SessionResults, stamp: str) -> Iterator[str]:
    if results.mode == "energy":
        yield "Power Edition Output"
        yield from _energy_lines(results)
    elif results.mode == "performance" and results.streaming is None:
        yield from _performance_lines(results, f"{stamp} ulp-mlperf:")
    elif results.mode == "accuracy":
        if results.top_1_percent is not None:
            yield f"{stamp} ulp-mlperf: Top 1% = {results.top_1_percent:.1f}"
        if results.auc is not None:
            yield f"{stamp} ulp-mlperf: AUC = {results.auc:.3f}"
    if (found := results.streaming) is not None:
        yield (
            f"Accuracy: {found.true_positives} True positives, {found.false_negatives} False negatives, "
            f"{found.false_positives} False positives"
        )
        # Five digits, but never with an exponent: the field's checker reads digits and points only.
        yield f"Average duty cycle: {_digits(found.duty_cycle)}"
        yield f"Average period: {_digits(found.period_s)} s"
        yield f"Estimated throughput: {_digits(found.inferences_per_s)} inf./sec."


def _digits(value: float) -> str:
    return f"{float(f'{value:.5g}'):.10f}".rstrip("0").rstrip(".")


def _performance_lines(results: SessionResults, prefix: str) -> Iterator[str]:
    for number, each in enumerate(results.windows, 1):
        yield f"Performance results for window {number}"
        yield f"    # Inferences : {each.iterations}"
        yield f"    Runtime: {each.duration_s} sec."
        rate = each.iterations / each.duration_s if each.duration_s else 0.0
        yield f"    Throughput: {rate} inf./sec."
        if each.valid:
            yield "    Runtime requirements have been met."
    if len(results.windows) != FIELDS_WINDOWS:
        yield f"{prefix} ERROR 1 - loop_count was not exactly 5."
    elif sum(each.duration_s for each in results.windows) < FIELDS_WINDOW_S:
        yield f"{prefix} ERROR 2 - loop exited before 10 seconds elapsed."
    elif results.inferences_per_s is not None:
        yield f"{prefix} {_RULE}"
        yield f"{prefix} Median throughput is {results.inferences_per_s:>10.3f} inf./sec."
        yield f"{prefix} {_RULE}"


def _energy_lines(results: SessionResults) -> Iterator[str]:
    for number, each in enumerate(results.windows):
        energy_j = each.energy_j or 0.0
        short = "" if each.duration_s >= FIELDS_WINDOW_S else "  <<<< below minimum duration"
        power_w = energy_j / each.duration_s if each.duration_s else 0.0
        yield f"Energy data for trial {number}"
        yield f"  Elapsed time  : {each.duration_s}{short}"
        yield f"  Inferences    : {each.iterations}"
        yield f"  Power         : {1e3 * power_w:5.4f} mW."
        yield f"  Total Energy  : {1e6 * energy_j:.3f} uJ"
        yield f"  Energy/Inf    : {1e6 * energy_j / max(1, each.iterations):.3f} uJ/inf"
    if results.uj_per_inference is not None:
        yield _RULE
        yield f"Median energy cost is {results.uj_per_inference:5.4f} uJ/inf."
        yield _RULE


def read_results(path: Path) -> SessionResults:
    """A `results.txt` of MLCommons' runner; numbers have the digits that it prints.

    Raises:
        DataError: It cannot be read, or a line means nothing; the message has its number.
    """
    lines, numbers = Lines(path), defaultdict[str, list[float]](list)
    detections: tuple[int, int, int] | None = None
    for line in lines:
        stamped = _STAMPED.fullmatch(line)
        text = (stamped[1] if stamped else line).strip()
        if found := _DETECTIONS.fullmatch(text):
            detections = (int(found[1]), int(found[2]), int(found[3]))
            continue
        for name, pattern in _PATTERNS.items():
            if found := pattern.fullmatch(text):
                value = next(group for group in found.groups() if group is not None)
                numbers[name].append(lines.number_in(value))
                break
        else:
            if not _WITHOUT_NUMBERS.fullmatch(text):
                lines.wrong(
                    f"{text[:40]!r} is no line of results",
                    "is it the file of another runner, or has something been added?",
                )
    return _results_of(lines, numbers, detections)


def _results_of(
    lines: Lines, numbers: dict[str, list[float]], detections: tuple[int, int, int] | None
) -> SessionResults:
    iterations, durations_s, energy_uj = (
        numbers[name] for name in ("iterations", "duration_s", "energy_uj")
    )
    energy = bool(energy_uj)
    if len(durations_s) != len(iterations) or (energy and len(energy_uj) != len(iterations)):
        lines.wrong(
            f"there are {len(iterations)} counts of inferences, {len(durations_s)} times "
            f"and {len(energy_uj)} energies",
            "the file was cut short, copy it again",
        )
    windows = tuple(
        WindowResult(
            round(count), durations_s[place], None, energy_uj[place] * 1e-6 if energy else None
        )
        for place, count in enumerate(iterations)
    )

    def last(name: str) -> float | None:
        return numbers[name][-1] if numbers[name] else None

    streaming = None
    if detections is not None:
        duty_cycle, period_s, rate = map(last, ("duty_cycle", "period_s", "streaming_per_s"))
        if duty_cycle is None or period_s is None or rate is None:
            lines.wrong(
                "detections stand without duty cycle, period and throughput",
                "the interface board recorded no duty cycle: measure again",
            )
        streaming = StreamingResult(*detections, duty_cycle, period_s, rate)
    accuracy = numbers["top_1_percent"] or numbers["auc"]
    return SessionResults(
        "energy" if energy else "accuracy" if accuracy else "performance",
        windows,
        last("inferences_per_s"),
        last("uj_per_inference"),
        last("top_1_percent"),
        last("auc"),
        streaming,
    )


def write_results_json(session: SessionLog, classes: dict[str, int] | None = None) -> str:
    """The text of `results.json`: what was measured, one entry a loop of the runner's script.

    Args:
        session: Its inferences.
        classes: The true class of each file; files that are not in it have none.
    """
    entries = []
    for each in session.inferences:
        infer: dict[str, Any] = {"results": list(each.results)}
        if (duration_s := each.duration_s) is not None:
            start_us, end_us = each.lap_us[-2:]
            infer |= {"start_time": start_us, "end_time": end_us, "elapsed_time": end_us - start_us}
            if session.mode == "performance":
                infer["throughput"] = each.iterations / duration_s
        infer |= {"total_inferences": 1, "iterations": each.iterations, "warmups": each.warmups}
        entry: dict[str, Any] = {"file": each.file, "bytes_to_send": each.payload_size}
        if classes and each.file in classes:
            entry["class"] = str(classes[each.file])
        entries.append(entry | {"infer": infer, "mode": session.mode[0]})
    return json.dumps(entries)

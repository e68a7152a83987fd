"""EEMBC's `results.txt`, written and read: windows, medians, accuracy, energy.

Shapes are those of the results published with MLPerf Tiny v1.0 to v1.2; `logs_eembc.py` has the log beside.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from gnomon.device.logs import RULE_WIDTH, Lines, Mode, SessionResults, WindowResult

_RULE = "-" * RULE_WIDTH
_TOO_SHORT = "e-[The run must take at least 10 seconds and 10 iterations to be valid]"
_NO_ACCURACY = "Cannot compute accuracy metrics in single-run mode."
_ENOUGH = "Runtime requirements have been met."

_STAMPED = re.compile(r"\d+\.\d{3} (ulp-ml(?:perf)?): (.*)")
_NUMBER = r"\s*([-\d.eE+]+)"
_LINES = {
    "start_s": rf"Energy data for window \d+ at time{_NUMBER} for.*",
    "energy_uj": rf"Energy\s*:{_NUMBER} uJ",
    "": rf"Power\s*:{_NUMBER} uW|Energy/Inf\.\s*:{_NUMBER} uJ/inf\.|Throughput\s*:{_NUMBER} inf\./sec\.",
    "iterations": rf"# Inferences\s*:{_NUMBER}",
    "duration_s": rf"Runtime\s*:{_NUMBER} sec\.",
    "uj_per_inference": rf"Median energy cost is{_NUMBER} uJ/inf\.",
    "inferences_per_s": rf"Median throughput is{_NUMBER} inf\./sec\.",
    "top_1_percent": rf"Top-1:{_NUMBER}%",
    "auc": rf"AUC:{_NUMBER}",
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _LINES.items()}
_WITHOUT_NUMBERS = re.compile(
    rf"Performance results for window \d+:|-+|e-\[.*|{re.escape(_NO_ACCURACY)}|{re.escape(_ENOUGH)}"
)


def code_of(mode: Mode) -> str:
    """What EEMBC's runner calls the test, at the beginning of each line."""
    return "ulp-ml" if mode == "energy" else "ulp-mlperf"


def write_results(results: SessionResults, time_s: float = 0.0) -> str:
    """The text of `results.txt`.

    Args:
        results: Of any mode; a streaming test is not known to this runner.
        time_s: When they were made, in seconds since the session's clock started.
    """
    code = code_of(results.mode)
    return "\n".join(f"{time_s:09.3f} {code}: {line}" for line in _results_lines(results))


def _results_lines(results: SessionResults) -> Iterator[str]:
    if results.mode == "accuracy":
        if results.top_1_percent is not None:
            yield f"Top-1: {results.top_1_percent:.1f}%"
        if results.auc is not None:
            yield f"AUC: {results.auc:.2f}"
        return
    if results.mode == "energy":
        for number, each in enumerate(results.windows, 1):
            energy_uj = 1e6 * (each.energy_j or 0.0)
            yield (
                f"Energy data for window {2 * number} at time {each.start_s or 0.0:.2f} "
                f"for {each.duration_s:.2f} sec.:"
            )
            yield f"  Energy       : {energy_uj:12.3f} uJ"
            yield f"  Power        : {_share(energy_uj, each.duration_s):12.3f} uW"
            yield f"  Energy/Inf.  : {_share(energy_uj, each.iterations):12.3f} uJ/inf."
        yield from _median("energy cost", results.uj_per_inference, "uJ/inf.")
    for number, each in enumerate(results.windows, 1):
        # Windows are what lies between timestamps: every second one is the loading of an input.
        yield f"Performance results for window {2 * number}:"
        yield f"  # Inferences : {each.iterations:12d}"
        yield f"  Runtime      : {each.duration_s:12.3f} sec."
        yield f"  Throughput   : {_share(each.iterations, each.duration_s):12.3f} inf./sec."
        yield _ENOUGH if each.valid else _TOO_SHORT
    yield from _median("throughput", results.inferences_per_s, "inf./sec.")
    yield _NO_ACCURACY


def _median(what: str, value: float | None, unit: str) -> Iterator[str]:
    if value is not None:
        yield _RULE
        yield f"Median {what} is {value:.3f} {unit}"
        yield _RULE


def _share(total: float, parts: float) -> float:
    return total / parts if parts else 0.0


def read_results(path: Path) -> SessionResults:
    """A `results.txt` of EEMBC's runner; numbers have the digits that it prints.

    Raises:
        DataError: It cannot be read, or a line means nothing; the message has its number.
    """
    lines, numbers, codes = Lines(path), defaultdict[str, list[float]](list), set[str]()
    for line in lines:
        stamped = _STAMPED.fullmatch(line)
        if stamped is None:
            lines.wrong(
                f"{line[:40]!r} does not begin with a time and 'ulp-mlperf:' or 'ulp-ml:'",
                "is it the file of another runner?",
            )
        codes.add(stamped[1])
        text = stamped[2].strip()
        for name, pattern in _PATTERNS.items():
            if found := pattern.fullmatch(text):
                value = next(group for group in found.groups() if group is not None)
                numbers[name].append(lines.number_in(value))
                break
        else:
            if not _WITHOUT_NUMBERS.fullmatch(text):
                lines.wrong(
                    f"{text[:40]!r} is no line of results", "leave the file as the runner wrote it"
                )
    return _results_of(lines, numbers, energy="ulp-ml" in codes)


def _results_of(lines: Lines, numbers: dict[str, list[float]], energy: bool) -> SessionResults:
    iterations, durations_s = numbers["iterations"], numbers["duration_s"]
    starts_s, energy_uj = numbers["start_s"], numbers["energy_uj"]
    count = len(iterations)
    if len(durations_s) != count or {len(starts_s), len(energy_uj)} - {count if energy else 0}:
        lines.wrong(
            f"there are {count} counts of inferences, {len(durations_s)} runtimes, {len(starts_s)} starts "
            f"and {len(energy_uj)} energies",
            "the file was cut short, copy it again",
        )
    windows = tuple(
        WindowResult(
            round(iterations[place]),
            durations_s[place],
            starts_s[place] if energy else None,
            energy_uj[place] * 1e-6 if energy else None,
        )
        for place in range(count)
    )

    def last(name: str) -> float | None:
        return numbers[name][-1] if numbers[name] else None

    accuracy = bool(numbers["top_1_percent"] or numbers["auc"]) and not windows
    return SessionResults(
        "energy" if energy else "accuracy" if accuracy else "performance",
        windows,
        last("inferences_per_s"),
        last("uj_per_inference"),
        last("top_1_percent"),
        last("auc"),
    )

"""The rules of MLPerf Tiny for one benchmark's tests: their files, quality, windows, energy and wake words.

They are those of the field's submission checker (v1.4), and of the rules where it does not look: five windows
of at least 10 s and 10 inferences, a median that is the median, a log that agrees with the results.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gnomon.core.errors import DataError
from gnomon.core.spec import QualityTarget
from gnomon.device import logs_eembc, logs_mlcommons, results_eembc, results_mlcommons
from gnomon.device.logs import (
    FIELDS_ITERATIONS,
    FIELDS_WINDOW_S,
    FIELDS_WINDOWS,
    Mode,
    SessionResults,
)
from gnomon.device.submission import EEMBC_MARK, FILES, Runner

TARGETS = {
    "ad": QualityTarget(metric="AUC", reference=0.85, factor=1.0),
    "ic": QualityTarget(metric="top-1 in percent", reference=85, factor=1.0),
    "ic2": QualityTarget(metric="top-1 in percent", reference=91, factor=1.0),
    "kws": QualityTarget(metric="top-1 in percent", reference=90, factor=1.0),
    "vww": QualityTarget(metric="top-1 in percent", reference=80, factor=1.0),
}
"""What the closed division asks for."""

WAKE_WORDS = 50
MOST_FALSE = 8
"""False positives, and false negatives, of the streaming wake word in the closed division."""
MODES: tuple[Mode, ...] = ("accuracy", "performance", "energy")
_DIGITS_LOST = 2e-4
"""Durations are printed to the millisecond, one part in ten thousand of a window; medians to three digits."""


@dataclass(frozen=True)
class Problem:
    """Something that keeps a submission from being accepted, or should be looked at.

    Attributes:
        path: File or folder.
        rule: Which rule, in a word or two.
        what: What was found.
        mend: What to do.
        line: Its number; None if it is about the whole.
        blocking: Whether it keeps the result out; otherwise it is a warning.
    """

    path: Path
    rule: str
    what: str
    mend: str
    line: int | None = None
    blocking: bool = True

    def __str__(self) -> str:
        place = str(self.path) if self.line is None else f"{self.path}, line {self.line}"
        return f"{place}: {self.what} ({self.rule}); {self.mend}"


@dataclass(frozen=True)
class SubmittedBenchmark:
    """Where a benchmark's tests are, and what they are held to.

    Attributes:
        folder: `results/SYSTEM/BENCHMARK`.
        closed: Whether it is in the closed division.
    """

    folder: Path
    closed: bool

    @property
    def name(self) -> str:
        """Of the benchmark."""
        return self.folder.name

    @property
    def streaming(self) -> bool:
        """Whether it is the streaming wake word."""
        return self.name == "sww"

    @property
    def runner(self) -> Runner:
        """Whose files they are."""
        return "eembc" if (self.folder / EEMBC_MARK).exists() else "mlcommons"


def problems_of_tests(benchmark: SubmittedBenchmark) -> Iterator[Problem]:
    """Everything that is wrong with the tests of one benchmark on one system."""
    present = [mode for mode in MODES if (benchmark.folder / mode).is_dir()]
    required: tuple[Mode, ...] = () if benchmark.streaming else ("accuracy", "performance")
    for mode in required:
        if mode not in present:
            yield Problem(
                benchmark.folder,
                "tests",
                f"there is no {mode} test",
                f"run it, or leave {benchmark.name} out",
            )
    if benchmark.streaming and not {"energy", "performance"} & set(present):
        yield Problem(
            benchmark.folder,
            "tests",
            "there is neither energy nor performance",
            "run one of them",
        )
    for mode in present:
        yield from _test(benchmark, benchmark.folder / mode, mode)


def _test(benchmark: SubmittedBenchmark, place: Path, mode: Mode) -> Iterator[Problem]:
    yield from _file_list(benchmark, place, mode)
    file = place / "results.txt"
    if not file.is_file():
        return
    try:
        results = (
            results_eembc if benchmark.runner == "eembc" else results_mlcommons
        ).read_results(file)
    except DataError as error:
        line = re.search(r", line (\d+): ", str(error))
        yield Problem(
            file,
            "results",
            str(error).removeprefix(f"{file}, ").removeprefix(f"line {line[1]}: " if line else ""),
            "or name the runner that wrote it (a file EEMBC_RUNNER beside the tests)",
            line=int(line[1]) if line else None,
        )
        return
    if benchmark.streaming:
        yield from _wake_words(benchmark, file, results)
    elif mode == "accuracy":
        yield from _accuracy(benchmark, file, results)
    else:
        yield from _windows(benchmark, file, results, mode)
    if mode == "performance" and not benchmark.streaming:
        yield from _log(benchmark, place / "log.txt", results)
    if mode == "energy":
        yield from _energy(benchmark, file, results)


def _file_list(benchmark: SubmittedBenchmark, place: Path, mode: Mode) -> Iterator[Problem]:
    wanted = set(FILES[benchmark.runner])
    if benchmark.streaming and mode == "energy":
        wanted.add("energy_inf_000.png")
    there = {each.name for each in place.iterdir() if each.is_file() and not each.is_symlink()}
    for name in sorted(wanted - there):
        yield Problem(place / name, "files", "is missing", "take it from the session's folder")
    if mode != "energy":
        for name in sorted(there - wanted - {"results.json", ".gitkeep"}):
            yield Problem(
                place / name, "files", "does not belong here", "remove it", blocking=False
            )


def _accuracy(
    benchmark: SubmittedBenchmark, file: Path, results: SessionResults
) -> Iterator[Problem]:
    target = TARGETS[benchmark.name]
    auc = target.metric == "AUC"
    found = results.auc if auc else results.top_1_percent
    pattern = r" AUC\s?[:=]" if auc else r" Top[- ]1"
    if found is None:
        yield Problem(
            file, "quality", f"there is no {target.metric}", "run the whole accuracy test"
        )
    elif benchmark.closed and not target.met_by(found):
        yield Problem(
            file,
            "quality",
            f"{target.metric} is {found:g}, and {target.threshold:g} is required in the closed division",
            "submit it to the open division, or mend the model",
            line=_line_of(file, pattern),
        )


def _windows(
    benchmark: SubmittedBenchmark, file: Path, results: SessionResults, mode: Mode
) -> Iterator[Problem]:
    if len(results.windows) != FIELDS_WINDOWS:
        yield Problem(
            file, "windows", f"there are {len(results.windows)} windows", "run exactly five"
        )
    elif mode == "performance" and results.inferences_per_s is None:
        yield Problem(file, "throughput", "states no median throughput", "run the test to its end")
    for number, window in enumerate(results.windows, 1):
        if window.duration_s < FIELDS_WINDOW_S or window.iterations < FIELDS_ITERATIONS:
            yield Problem(
                file,
                "window length",
                f"window {number} has {window.iterations} inferences in {window.duration_s:.3f} s",
                "at least 10 inferences and 10 s are required: raise the iterations",
                line=_line_of(file, r"(?:Runtime|Elapsed time)\s*:", number),
            )
    rates = [each.iterations / each.duration_s for each in results.windows if each.duration_s]
    yield from _median(file, "throughput", results.inferences_per_s, rates)


def _median(file: Path, what: str, stated: float | None, values: list[float]) -> Iterator[Problem]:
    if _differ(stated, values):
        yield Problem(
            file,
            "median",
            f"the stated {what} is {stated:g}, the windows' median is {statistics.median(values):.3f}",
            "leave the file as the runner wrote it",
            line=_line_of(file, "Median"),
        )


def _differ(stated: float | None, values: list[float]) -> bool:
    """Whether a stated median cannot be that of the values."""
    if stated is None or not values:
        return False
    return abs(statistics.median(values) - stated) > _DIGITS_LOST * stated + 1e-3


def _energy(
    benchmark: SubmittedBenchmark, file: Path, results: SessionResults
) -> Iterator[Problem]:
    if benchmark.streaming:
        if len(results.windows) != 1 or results.windows[0].energy_j is None:
            yield Problem(
                file, "energy", "states no power of one window", "run it with an energy monitor"
            )
        return
    if results.uj_per_inference is None:
        yield Problem(file, "energy", "states no median energy", "run the test to its end")
    costs = [
        1e6 * each.energy_j / each.iterations
        for each in results.windows
        if each.energy_j is not None and each.iterations
    ]
    yield from _median(file, "energy", results.uj_per_inference, costs)


def _wake_words(
    benchmark: SubmittedBenchmark, file: Path, results: SessionResults
) -> Iterator[Problem]:
    found = results.streaming
    if found is None:
        yield Problem(
            file, "wake words", "states no detections", "run the streaming test to its end"
        )
        return
    line = _line_of(file, "Accuracy:")
    if found.true_positives + found.false_negatives != WAKE_WORDS:
        yield Problem(
            file,
            "wake words",
            f"{found.true_positives} found and {found.false_negatives} missed are not {WAKE_WORDS}",
            "use the long test (sww_long_test.json)",
            line=line,
        )
    if benchmark.closed and max(found.false_positives, found.false_negatives) > MOST_FALSE:
        yield Problem(
            file,
            "quality",
            f"{found.false_positives} false alarms and {found.false_negatives} misses",
            f"at most {MOST_FALSE} of each in the closed division",
            line=line,
        )


def _log(benchmark: SubmittedBenchmark, file: Path, results: SessionResults) -> Iterator[Problem]:
    """Hold the results against the board's own timestamps, which the field's checker does not read."""
    if not file.is_file():
        return
    try:
        session = (logs_eembc if benchmark.runner == "eembc" else logs_mlcommons).read_log(file)
    except DataError as error:
        yield Problem(file, "log", str(error), "take it from the session's folder", blocking=False)
        return
    timed = [each for each in session.inferences if each.duration_s is not None]
    rates = [each.iterations / each.duration_s for each in timed if each.duration_s]
    stated = results.inferences_per_s
    if _differ(stated, rates):
        yield Problem(
            file,
            "log",
            f"the board's timestamps give {statistics.median(rates):.3f} inf./sec., results.txt {stated:g}",
            "log and results must be of one session",
            blocking=False,
        )


def _line_of(file: Path, pattern: str, occurrence: int = 1) -> int | None:
    """The number of the line in which the pattern is found for the `occurrence`-th time."""
    seen = 0
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        seen += bool(re.search(pattern, line))
        if seen == occurrence:
            return number
    return None

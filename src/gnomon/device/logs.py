"""What the field's log files say, as plain data: a session with a board, and the results made of it.

Two runners write such files: EEMBC's (`logs_eembc.py`) and MLCommons' (`logs_mlcommons.py`). `log.txt` is the
session, `results.txt` the results; both are read into the same dataclasses and written from them.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NoReturn

from gnomon.core.energy import EnergyFigures
from gnomon.core.errors import DataError, described

Mode = Literal["performance", "accuracy", "energy"]

FIELDS_WINDOW_S = 10.0
FIELDS_ITERATIONS = 10
FIELDS_WINDOWS = 5
RULE_WIDTH = 57
"""How many dashes both runners rule off a median with."""

_LAP = re.compile(r"m-lap-us-(\d+)")
_RESULTS = re.compile(r"m-results-\[([^\]]*)\]?")


@dataclass(frozen=True)
class BoardLine:
    """A line that came from the board.

    Attributes:
        time_s: When, in seconds since the session's clock started.
        text: As it came.
    """

    time_s: float
    text: str


@dataclass(frozen=True)
class Inference:
    """An input that was loaded, one `infer` command, and what the board answered.

    Attributes:
        file: The input's file name.
        file_size: Its bytes.
        payload_size: Bytes that were loaded.
        offset: Where in the file they begin: anomaly detection slides over a recording.
        load_start_s: Seconds since the session's clock started.
        load_end_s: Likewise.
        command_s: When the command was sent.
        iterations: Timed inferences asked for.
        warmups: Untimed ones before.
        lines: The answer, to `m-ready`.
    """

    file: str
    file_size: int
    payload_size: int
    offset: int
    load_start_s: float
    load_end_s: float
    command_s: float
    iterations: int
    warmups: int
    lines: tuple[BoardLine, ...]

    @property
    def lap_us(self) -> tuple[int, ...]:
        """The board's timestamps in microseconds: two, or none in energy mode."""
        return tuple(int(found[1]) for line in self.lines if (found := _LAP.search(line.text)))

    @property
    def duration_s(self) -> float | None:
        """Between the board's timestamps; None without two of them that run forward."""
        laps = self.lap_us
        return (laps[-1] - laps[-2]) / 1e6 if len(laps) >= 2 and laps[-1] > laps[-2] else None

    @property
    def results(self) -> tuple[float, ...]:
        """What the board printed of the last inference; empty if nothing that can be read."""
        for line in reversed(self.lines):
            if found := _RESULTS.search(line.text):
                try:
                    return tuple(float(value) for value in found[1].split(",") if value.strip())
                except ValueError:
                    return ()
        return ()


@dataclass(frozen=True)
class SessionLog:
    """One test of a board.

    Attributes:
        started_at: When the session's clock was at 0, local time.
        runner: Program and version that held the session.
        mode: Which test.
        model_id: What the board's `profile` said (`kws01`).
        profile: The same of its firmware.
        board: What its `name` said; empty if it was not asked.
        folder: Where folders of inputs are, one a model.
        greeting: What came from the board before the first input, to the first `timestamp`.
        inferences: In order.
        end_s: When the session ended.
    """

    started_at: datetime
    runner: str
    mode: Mode
    model_id: str
    profile: str
    board: str
    folder: str
    greeting: tuple[BoardLine, ...]
    inferences: tuple[Inference, ...]
    end_s: float


@dataclass(frozen=True)
class WindowResult:
    """One timed window.

    Attributes:
        iterations: Inferences in it.
        duration_s: How long it was.
        start_s: When it began on the energy monitor's clock; None without one.
        energy_j: What it cost; None without an energy monitor.
    """

    iterations: int
    duration_s: float
    start_s: float | None = None
    energy_j: float | None = None

    @property
    def valid(self) -> bool:
        """Whether it is as long as the rules ask for (10 s and 10 inferences)."""
        return self.duration_s >= FIELDS_WINDOW_S and self.iterations >= FIELDS_ITERATIONS


@dataclass(frozen=True)
class StreamingResult:
    """What a streaming wake-word test found.

    Attributes:
        true_positives: Wake words that were detected.
        false_negatives: Those that were not.
        false_positives: Detections of nothing.
        duty_cycle: Share of time in which the board works.
        period_s: From one feature window to the next.
        inferences_per_s: One over the time that it works on one.
    """

    true_positives: int
    false_negatives: int
    false_positives: int
    duty_cycle: float
    period_s: float
    inferences_per_s: float

    @property
    def f1(self) -> float:
        """The field's accuracy of it."""
        hits = 2 * self.true_positives
        all_named = hits + self.false_positives + self.false_negatives
        return hits / all_named if all_named else 0.0


@dataclass(frozen=True)
class SessionResults:
    """What `results.txt` says.

    Attributes:
        mode: Which test.
        windows: Of performance and energy, in order.
        inferences_per_s: The median throughput as it is stated; None if it is not.
        uj_per_inference: The same of energy, in microjoules.
        top_1_percent: Of accuracy.
        auc: Area under the receiver operating characteristic, 0 to 1.
        streaming: Of the streaming wake word, in performance and energy mode.
    """

    mode: Mode
    windows: tuple[WindowResult, ...] = ()
    inferences_per_s: float | None = None
    uj_per_inference: float | None = None
    top_1_percent: float | None = None
    auc: float | None = None
    streaming: StreamingResult | None = None


def timed_results(windows: Iterable[tuple[int, float]]) -> SessionResults:
    """Results of performance windows, given as (inferences, seconds)."""
    timed = tuple(WindowResult(iterations, duration_s) for iterations, duration_s in windows)
    rates = [each.iterations / each.duration_s for each in timed if each.duration_s > 0]
    return SessionResults("performance", timed, statistics.median(rates) if rates else None)


def energy_results(
    figures: EnergyFigures, streaming: StreamingResult | None = None
) -> SessionResults:
    """Results of windows with an energy monitor."""
    windows = tuple(
        WindowResult(window.iterations, window.duration_s, window.start_s, energy_j)
        for window, energy_j in zip(figures.windows, figures.energy_j, strict=True)
    )
    throughput = statistics.median(each.iterations / each.duration_s for each in windows)
    return SessionResults(
        "energy", windows, throughput, figures.median_uj_per_inference, streaming=streaming
    )


def answer_lines(
    iterations: int,
    warmups: int,
    results: Sequence[float],
    lap_us: tuple[int, int] | None,
    start_s: float,
    end_s: float,
) -> tuple[BoardLine, ...]:
    """A board's answer to `infer` as the protocol words it, where the lines themselves were not kept."""
    first, last = [f"m-lap-us-{lap}" for lap in lap_us] if lap_us else ["", ""]
    printed = ",".join(f"{value:.3f}" for value in results)
    texts = (
        *((start_s, text) for text in (f"m-warmup-start-{warmups}", "m-warmup-done")),
        *((start_s, text) for text in (f"m-infer-start-{iterations}", first)),
        *((end_s, text) for text in (last, "m-infer-done", f"m-results-[{printed}]", "m-ready")),
    )
    return tuple(BoardLine(time_s, text) for time_s, text in texts if text)


class Lines:
    """A text file line by line, with errors that name the line."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            DataError: It cannot be read.
        """
        try:
            text = path.read_bytes().decode("utf-8", "replace")
        except OSError as error:
            raise DataError(f"cannot read {path}: {described(error)}") from None
        self.path = path
        self.number = 0
        self._lines = text.replace("\r\n", "\n").split("\n")

    def __iter__(self) -> Iterator[str]:
        """The lines that are not empty, without what is blank at their ends."""
        for number, line in enumerate(self._lines, 1):
            if line.strip():
                self.number = number
                yield line.rstrip()

    def wrong(self, what: str, mend: str) -> NoReturn:
        """Refuse the line that is being looked at."""
        raise DataError(f"{self.path}, line {self.number}: {what}; {mend}")

    def number_in(self, text: str) -> float:
        """A number of the line."""
        try:
            return float(text)
        except ValueError:
            self.wrong(f"{text!r} is no number", "copy the file again")

"""What is asked of a board: timed windows, and every sample of a data set once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gnomon.core.errors import SystemFault
from gnomon.device.record import LOG_FILE, Inferred, Window
from gnomon.device.task import TinyTask

if TYPE_CHECKING:
    from gnomon.device.dut import Dut, Inference
    from gnomon.device.options import TinyBenchmark

ROOM = 1.1
"""Iterations are chosen for a window this much longer than it has to be: a board's speed is not constant."""
ENOUGH = 0.05
"""A trial that takes this share of a window tells the speed well enough to choose the iterations by."""
TRIES = 5


def choose_iterations(dut: Dut, settings: TinyBenchmark) -> int:
    """How many inferences fill a window, by trials of growing length; the input has to be loaded.

    Raises:
        SystemFault: The board's clock stands still.
    """
    iterations = settings.min_iterations
    while True:
        duration_s = _duration_s(dut.infer(iterations, 0))
        if duration_s >= ENOUGH * settings.window_s:
            needed = math.ceil(ROOM * settings.window_s * iterations / duration_s)
            return max(settings.min_iterations, needed)
        if iterations > 10**8:
            raise SystemFault(
                f"{iterations} inferences took {duration_s:g} s by the board's clock: it stands still"
            )
        # Never more than tenfold: the first inferences may be far slower than the rest.
        wanted = 2 * ENOUGH * settings.window_s * iterations / max(duration_s, 1e-9)
        iterations = min(10 * iterations, max(2 * iterations, math.ceil(wanted)))


def timed_window(
    dut: Dut, task: TinyTask, sample: int, settings: TinyBenchmark, iterations: int | None
) -> Window:
    """Load a sample and time a window of it, again with more iterations if it was too short.

    Args:
        dut: The board.
        task: Has the sample.
        sample: Which; of several payloads the first is taken.
        settings: How long a window is.
        iterations: How many inferences; found out if None.
    """
    dut.load(task.payloads(sample)[0])
    count = iterations or choose_iterations(dut, settings)
    for attempt in range(TRIES):
        more = ROOM + 0.1 * attempt
        expected_s = None if iterations else ROOM * settings.window_s
        done = dut.infer(count, settings.warmups, expected_s=expected_s)
        duration_s = _duration_s(done)
        if iterations or duration_s >= settings.window_s:
            break
        count = max(count + 1, math.ceil(more * count * settings.window_s / max(duration_s, 1e-9)))
    start_us, end_us = _ends_us(done)
    return Window(
        sample=sample,
        file=task.file_name(sample),
        iterations=done.iterations,
        warmups=done.warmups,
        start_us=start_us,
        end_us=end_us,
        host_clock=done.lap_start_us is None,
        wrapped=done.counter_wrapped,
        host_start_ns=done.host_start_ns,
        host_end_ns=done.host_end_ns,
        results=tuple(done.results.tolist()),
    )


def _ends_us(done: Inference) -> tuple[int, int]:
    """By the board's clock; in energy mode, where it makes pulses instead of telling, by the host's."""
    if done.lap_start_us is None or done.lap_end_us is None:
        return done.host_start_ns // 1000, done.host_end_ns // 1000
    return done.lap_start_us, done.lap_end_us


def _duration_s(done: Inference) -> float:
    start_us, end_us = _ends_us(done)
    return (end_us - start_us) / 1e6


def inferred_samples(dut: Dut, task: TinyTask, done: Sequence[Inferred]) -> Iterator[Inferred]:
    """Infer every payload that is not done yet, once and without warm-up, in order."""
    there = {(each.sample, each.payload) for each in done}
    for sample in range(len(task)):
        for place, payload in enumerate(task.payloads(sample)):
            if (sample, place) in there:
                continue
            dut.load(payload)
            told = dut.infer(1, 0)
            yield Inferred(sample, place, told.results)


class Transcript:
    """The conversation with a board, written to the log of whatever is measured at the time."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self._quiet = False
        self._start_ns = time.monotonic_ns()

    def __call__(self, direction: str, at_ns: int, text: str) -> None:
        """A line that was sent (`>`) or received (`<`); the bytes of payloads are left out."""
        if self._file is None or self._file.closed:
            return
        if direction == "sent":
            self._quiet = text.startswith("db ") and not text.startswith(("db load", "db print"))
        if not self._quiet:
            mark = ">" if direction == "sent" else "<"
            self._file.write(f"{(at_ns - self._start_ns) / 1e9:14.6f} {mark} {text}\n")

    def into(self, folder: Path) -> IO[str]:
        """The log of a measurement, to be closed at its end; one that is there is gone on with."""
        self._file = (folder / LOG_FILE).open("a")
        return self._file

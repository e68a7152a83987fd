"""One measurement of a board: performance, accuracy or energy, kept on disk as it goes, its progress told."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gnomon.core.protocol import Job, Progress
from gnomon.device.dut import Dut
from gnomon.device.energy_record import write_energy
from gnomon.device.judge import Held
from gnomon.device.monitors import EnergyMonitor
from gnomon.device.options import ACCURACY, ENERGY, TinyOptions
from gnomon.device.record import (
    Inferred,
    Window,
    read_results,
    read_windows,
    write_results,
    write_windows,
)
from gnomon.device.session import inferred_samples, timed_window

SAVE_EVERY_S = 5.0
SHOWN_EVERY_S = 0.1


def measure(
    name: str, job: Job, held: Held, dut: Dut, folder: Path, monitor: EnergyMonitor | None
) -> None:
    """Carry out a measurement; whatever its folder has of an earlier start is gone on with.

    Raises:
        SystemFault: The board, or the monitor, broke off; what was measured before is on disk.
    """
    if name == ACCURACY:
        _infer_all(job, held, dut, folder)
    else:
        _time_windows(name, job, held, dut, folder, monitor)


class _Shown:
    """Tells an observer how a measurement stands."""

    def __init__(self, job: Job, name: str) -> None:
        self._job, self._name, self._started_s = job, name, time.monotonic()
        self._told_s = -math.inf

    def __call__(self, share: float, text: str) -> None:
        now_s = time.monotonic()
        if self._job.observer is not None and now_s - self._told_s >= SHOWN_EVERY_S:
            self._told_s = now_s
            self._job.observer(Progress(self._name, share, now_s - self._started_s, text))


def _time_windows(
    name: str, job: Job, held: Held, dut: Dut, folder: Path, monitor: EnergyMonitor | None
) -> None:
    options, settings, task = job.options, held.settings, held.task
    assert isinstance(options, TinyOptions)
    shown = _Shown(job, name)
    # A monitor's trace cannot be gone on with: energy begins anew.
    windows: list[Window] = [] if name == ENERGY else read_windows(folder)
    with _recording(monitor):
        for number in range(len(windows), settings.windows):
            told = f"{windows[-1].inferences_per_s:.1f} inferences/s" if windows else "loading"
            if job.system.counts == "instructions":
                told = "counting instructions"
            shown(number / settings.windows, f"window {number + 1} of {settings.windows}, {told}")
            sample = number % len(task)
            windows.append(timed_window(dut, task, sample, settings, options.iterations))
            write_windows(folder, windows)
    if monitor is not None:
        write_energy(folder, monitor.samples(), _timestamps_s(monitor, windows))


@contextmanager
def _recording(monitor: EnergyMonitor | None) -> Iterator[None]:
    if monitor is None:
        yield
        return
    monitor.start()
    try:
        yield
    finally:
        monitor.stop()


def _timestamps_s(monitor: EnergyMonitor, windows: Sequence[Window]) -> list[float]:
    """Two a window: what the monitor saw on its input, or, of a host's meter, when they arrived here."""
    if monitor.clock == "instrument":
        return list(monitor.timestamps())
    return [ns / 1e9 for window in windows for ns in (window.host_start_ns, window.host_end_ns)]


def _infer_all(job: Job, held: Held, dut: Dut, folder: Path) -> None:
    task, shown = held.task, _Shown(job, ACCURACY)
    inferred: list[Inferred] = read_results(folder)
    wanted = sum(len(task.payloads(sample)) for sample in range(len(task)))
    saved_s = time.monotonic()
    try:
        for each in inferred_samples(dut, task, tuple(inferred)):
            inferred.append(each)
            now_s = time.monotonic()
            if now_s - saved_s > SAVE_EVERY_S:
                write_results(folder, inferred)
                saved_s = now_s
            shown(len(inferred) / wanted, f"{len(inferred)} of {wanted} inputs inferred")
    finally:
        write_results(folder, inferred)

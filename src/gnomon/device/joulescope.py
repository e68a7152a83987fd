"""Joulescope JS110 and JS220 through Jetperch's package `joulescope` (1.x), of the extra `energy`.

The instrument streams power a million times a second, and the board's timestamp pin as a bit beside it, from
its input 0 (`gpi0`). Samples are kept by the millisecond, cut where the pin falls, so that windows are exact.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gnomon.core.energy import EnergySamples, Gap
from gnomon.core.errors import SystemFault, described
from gnomon.core.extras import optional_module
from gnomon.device.monitors import Clock

RAW_RATE_HZ = 1_000_000
KEPT_RATE_HZ = 1000
_POLL_S = 0.02
_FIRST_SAMPLE_S = 5.0


class Driver(Protocol):
    """What is used of `joulescope.v1.device.Device`; the package has no types of its own."""

    stream_buffer: Any

    def open(self) -> None:
        """Take hold of the instrument."""

    def parameter_set(self, name: str, value: Any) -> None:
        """Set a parameter by its name."""

    def start(self) -> None:
        """Begin to stream into `stream_buffer`."""

    def stop(self) -> None:
        """Stream no more."""

    def close(self) -> None:
        """Let go of it."""

    def info(self) -> Any:
        """Model, serial number, versions."""


def find_joulescope(serial_number: str | None = None) -> Driver:
    """The Joulescope that is connected.

    Args:
        serial_number: Which, if there are several; as printed on it (`000123`).

    Raises:
        MissingExtraError: The package is not installed.
        SystemFault: There is none, or there are several, or none with this number.
    """
    package = optional_module("joulescope", "joulescope", "energy", "energy from a Joulescope")
    # "ignore" leaves the instrument's ranges to `parameter_set`.
    found = {str(device): device for device in package.scan(config="ignore")}
    wanted = [name for name in found if serial_number is None or serial_number in name]
    if len(wanted) != 1:
        seen = ", ".join(found) or "none"
        mend = (
            "plug it in, close the Joulescope UI, and see that your user may use it (udev rules)"
            if not found
            else "give its serial number: --energy joulescope:NUMBER"
        )
        raise SystemFault(f"one Joulescope is needed, connected: {seen}; {mend}")
    driver: Driver = found[wanted[0]]
    return driver


class Slices:
    """The stream as it arrives: raw samples become millisecond samples, cut where the pin falls.

    A raw sample that was lost is NaN or missing; it counts as the mean of its millisecond's others, or of the
    millisecond before, and is on record as a gap.
    """

    def __init__(self, raw_rate_hz: int = RAW_RATE_HZ, kept_rate_hz: int = KEPT_RATE_HZ) -> None:
        self._raw_rate_hz = raw_rate_hz
        self._stride = raw_rate_hz // kept_rate_hz
        self._origin: int | None = None
        self._next = 0
        self._open = np.empty(0, np.float64)
        self._last_level: int | None = None
        self._mean_w = 0.0
        self._energy_j: list[NDArray[np.float64]] = []
        self._ends: list[NDArray[np.int64]] = []
        self._gaps: list[Gap] = []
        self._falls: list[int] = []

    def feed(self, first: int, power_w: NDArray[np.floating], level: NDArray[np.integer]) -> None:
        """Take in consecutive raw samples.

        Args:
            first: Number of the first on the instrument's count; what is missing since the last call
                was lost.
            power_w: Watts, shape (n,), NaN where lost.
            level: The pin, 0 or 1, shape (n,).
        """
        if self._origin is None:
            self._origin = self._next = first
        if (missing := first - self._next) > 0:
            self._take(np.full(missing, np.nan), np.full(missing, self._last_level))
        self._take(np.asarray(power_w, np.float64), np.asarray(level))

    def _take(self, power_w: NDArray[np.float64], level: NDArray[Any]) -> None:
        if not len(power_w):
            return
        assert self._origin is not None
        start = self._next - self._origin
        level = level.astype(np.int8)  # a difference of unsigned numbers never falls
        before = level[0] if self._last_level is None else self._last_level
        # A lost sample has no level: an edge beside one would be a guess.
        known = np.isfinite(power_w)
        edges = np.flatnonzero((np.diff(level, prepend=before) < 0) & known) + start
        self._falls.extend(edges.tolist())
        self._last_level, self._next = int(level[-1]), self._next + len(power_w)
        if lost := int(np.count_nonzero(~known)):
            last = start + int(np.flatnonzero(~known)[-1]) + 1
            first = start + int(np.flatnonzero(~known)[0])
            self._gaps.append(Gap(last / self._raw_rate_hz, lost, first / self._raw_rate_hz))
        self._cut(np.concatenate([self._open, power_w]), start - len(self._open), edges)

    def _cut(self, power_w: NDArray[np.float64], start: int, edges: NDArray[np.int64]) -> None:
        """Close every sample that ends inside `power_w`, whose first raw sample is number `start`."""
        end = start + len(power_w)
        whole = np.arange(start // self._stride + 1, end // self._stride + 1) * self._stride
        ends = np.unique(np.concatenate([whole, edges[edges > start]]))
        if len(ends):
            starts = np.concatenate([[0], ends[:-1] - start])
            counted = ends[-1] - start
            energy_w = np.add.reduceat(np.nan_to_num(power_w[:counted]), starts)
            known = np.add.reduceat(np.isfinite(power_w[:counted]).astype(np.float64), starts)
            lengths = np.diff(ends, prepend=start)
            mean_w = np.divide(energy_w, known, out=np.zeros_like(energy_w), where=known > 0)
            # With nothing known of a whole sample, it is taken for the last that something is known of.
            latest = np.maximum.accumulate(np.where(known > 0, np.arange(len(known)), -1))
            mean_w = np.where(latest >= 0, mean_w[latest], self._mean_w)
            self._mean_w = float(mean_w[-1])
            self._energy_j.append(mean_w * lengths / self._raw_rate_hz)
            self._ends.append(ends)
            power_w = power_w[counted:]
        self._open = power_w

    def samples(self) -> EnergySamples:
        """Everything so far; the first sample begins at 0 s, the last millisecond may be missing."""
        ends = np.concatenate([np.zeros(1, np.int64), *self._ends])
        energy_j = np.concatenate([np.empty(0), *self._energy_j])
        return EnergySamples(energy_j, ends / self._raw_rate_hz, gaps=tuple(self._gaps))

    def timestamps(self) -> tuple[float, ...]:
        """Seconds of the falling edges."""
        return tuple(number / self._raw_rate_hz for number in self._falls)


class Joulescope:
    """The instrument; a thread takes its stream while it records."""

    name = "joulescope"
    clock: Clock = "instrument"

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._slices = Slices()
        self._thread: threading.Thread | None = None
        self._stop_asked = threading.Event()
        self._started = threading.Event()
        self._fault: SystemFault | None = None
        self._info: Any = None

    def describe(self) -> dict[str, Any]:
        """As `EnergyMonitor` asks."""
        info = self._info if isinstance(self._info, dict) else {}
        return {
            "instrument": f"Joulescope {info.get('model', '')}".strip(),
            "address": str(self._driver),
            "serial_number": str(info.get("serial_number", "")),
            "rate_hz": RAW_RATE_HZ,
        }

    def start(self) -> None:
        """As `EnergyMonitor` asks; returns when the first samples are there. It gives the board no supply."""
        try:
            self._driver.open()
            self._info = self._driver.info()
            for name, value in (
                ("source", "raw"),
                ("sensor_power", "on"),
                ("i_range", "auto"),
                ("sampling_frequency", RAW_RATE_HZ),
                ("io_voltage", "3.3V"),
                ("current_lsb", "gpi0"),
            ):
                self._driver.parameter_set(name, value)
            self._driver.start()
        except Exception as error:  # the package raises what it likes
            raise SystemFault(
                f"the Joulescope {self._driver} does not start: {described(error)}; close the Joulescope UI "
                "and plug it in again"
            ) from None
        self._slices, self._fault = Slices(), None
        self._stop_asked.clear()
        self._started.clear()
        self._thread = threading.Thread(target=self._record, name="joulescope", daemon=True)
        self._thread.start()
        if not self._started.wait(_FIRST_SAMPLE_S):
            self._end()
            raise self._fault or SystemFault(
                f"the Joulescope {self._driver} sent no sample within {_FIRST_SAMPLE_S:g} s: plug it in again"
            )

    def stop(self) -> None:
        """As `EnergyMonitor` asks."""
        if self._thread is not None:
            self._end()
            if self._fault is not None:
                raise self._fault

    def samples(self) -> EnergySamples:
        """As `EnergyMonitor` asks."""
        return self._slices.samples()

    def timestamps(self) -> tuple[float, ...]:
        """As `EnergyMonitor` asks."""
        return self._slices.timestamps()

    def _end(self) -> None:
        assert self._thread is not None
        self._stop_asked.set()
        self._thread.join()
        self._thread = None
        with contextlib.suppress(Exception):  # it may be gone, which the thread has reported
            self._driver.stop()
            self._driver.close()

    def _record(self) -> None:
        taken: int | None = None
        try:
            while True:
                ending = self._stop_asked.is_set()  # what came before the request is still taken
                taken = self._take(taken)
                if ending:
                    return
                time.sleep(_POLL_S)
        except Exception as error:  # the package raises what it likes
            self._fault = SystemFault(
                f"the Joulescope {self._driver} broke off: {described(error)}; measure again"
            )
            self._started.set()

    def _take(self, taken: int | None) -> int | None:
        """Pass on the raw samples since number `taken`; the number after the last."""
        buffer = self._driver.stream_buffer
        first, end = buffer.sample_id_range
        if first is None or first >= end:
            return taken
        start = first if taken is None else max(first, taken)
        if start < end:
            signals = buffer.samples_get(start, end, fields=["power", "current_lsb"])["signals"]
            self._slices.feed(start, signals["power"]["value"], signals["current_lsb"]["value"])
            self._started.set()
        return int(end)

"""STMicroelectronics' X-NUCLEO-LPM01A, the field's usual energy monitor, over its text protocol.

It supplies the board, integrates its energy a thousand times a second, and writes an event into its stream
for each falling edge on its input D7. Source of commands and formats: the instrument's `help` and manual
UM2243.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import numpy as np

from gnomon.core.energy import EnergySamples, Gap, evenly_sampled
from gnomon.core.errors import SettingsError, SystemFault
from gnomon.device.board import Line
from gnomon.device.monitors import Clock

BAUD = 3_686_400
RATES_HZ = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""What it can send as text without end."""

_PROMPT = "PowerShield >"
_SAMPLE = re.compile(r"(\d{4}[+-]\d{2})")
_MARK = re.compile(r"TimeStamp:\s*(\d+)s\s+(\d+)ms,\s*buff\s*(\d+)%")
_EVENT = re.compile(r"event\s+(\d+)\s+(?:ris|fal)")
_LINES_QUOTED = 3


class Recording:
    """An acquisition as it arrives. Knows the text format, and nothing of lines or threads.

    A sample that was lost is held as the one before it, so that times stay right, and is on record as a gap.

    Attributes:
        fullest_percent: How full the instrument's buffer has been.
        complete: Whether the instrument said that it has stopped.
        failure: What it reported as an error; None if nothing.
        missing_event: What is wrong with the events' numbers; None if nothing.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._pending = b""
        self._energy_j: list[float] = []
        self._events: list[tuple[int, int]] = []
        self._gaps: list[Gap] = []
        self._last_mark: tuple[float, int] | None = None
        self.fullest_percent = 0
        self.complete = False
        self.failure: str | None = None
        self.missing_event: str | None = None

    def feed(self, data: bytes) -> None:
        """Take in what arrived, in whatever pieces."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._take(_text(line))

    def _take(self, line: str) -> None:
        if _SAMPLE.fullmatch(line):
            self._energy_j.append(_joules(line))
        elif mark := _MARK.fullmatch(line):
            seconds, milliseconds, percent = map(int, mark.groups())
            self.fullest_percent = max(self.fullest_percent, percent)
            self._check_count(seconds + milliseconds / 1000)
        elif event := _EVENT.fullmatch(line):
            self._take_event(int(event[1]))
        elif "Acquisition completed" in line:
            self.complete = True
        elif _said(line).lower().startswith("error"):
            self.failure = f"{self.failure}; {_said(line)}" if self.failure else _said(line)
        elif re.fullmatch(r"[\d+-]+", line):
            self._take_broken(line)

    def _take_event(self, number: int) -> None:
        if self._events and (number - self._events[-1][0]) % 100 != 1:
            self.missing_event = f"event {number:02d} came after event {self._events[-1][0]:02d}"
        self._events.append((number, len(self._energy_j)))

    def _take_broken(self, line: str) -> None:
        """Samples that ran into each other, or lost digits: whole ones count, remains are one lost sample."""
        whole = _SAMPLE.findall(line)
        self._energy_j.extend(map(_joules, whole))
        if len(line) > 7 * len(whole):
            self._lose(1, since=len(self._energy_j))

    def _check_count(self, time_s: float) -> None:
        """Hold the samples since the last time stamp against the time that passed."""
        if self._last_mark is not None:
            before_s, before = self._last_mark
            missing = round((time_s - before_s) * self._rate_hz) - (len(self._energy_j) - before)
            if missing > 0:
                self._lose(missing, since=before)
        self._last_mark = (time_s, len(self._energy_j))

    def _lose(self, count: int, since: int) -> None:
        self._energy_j.extend([self._energy_j[-1] if self._energy_j else 0.0] * count)
        now_s = len(self._energy_j) / self._rate_hz
        self._gaps.append(Gap(now_s, count, since_s=since / self._rate_hz))

    def samples(self) -> EnergySamples:
        """Everything so far; the first sample begins at 0 s."""
        return evenly_sampled(
            np.asarray(self._energy_j, np.float64), self._rate_hz, gaps=self._gaps
        )

    def timestamps(self) -> tuple[float, ...]:
        """Seconds of the events: each came between two samples."""
        return tuple(index / self._rate_hz for _, index in self._events)


class Lpm01a:
    """The instrument on a line. While it records, a thread of its own reads the line and alone uses it."""

    name = "lpm01a"
    clock: Clock = "instrument"

    def __init__(
        self, line: Line, voltage_v: float = 3.0, rate_hz: int = 1000, timeout_s: float = 5.0
    ) -> None:
        """Nothing is sent yet.

        Args:
            line: Opened at `BAUD`; closed by `close`.
            voltage_v: Supply of the board, 1.8 to 3.3 V.
            rate_hz: Samples a second, one of `RATES_HZ`.
            timeout_s: How long it may take to acknowledge a command.

        Raises:
            SettingsError: The instrument has no such voltage or rate.
        """
        if not 1.8 <= voltage_v <= 3.3:
            raise SettingsError(f"an LPM01A supplies 1.8 V to 3.3 V, not {voltage_v} V")
        if rate_hz not in RATES_HZ:
            raise SettingsError(
                f"an LPM01A has no sample rate of {rate_hz} Hz; it has {', '.join(map(str, RATES_HZ))}"
            )
        self._line = line
        self._voltage_v = voltage_v
        self._rate_hz = rate_hz
        self._timeout_s = timeout_s
        self._recording = Recording(rate_hz)
        self._thread: threading.Thread | None = None
        self._stop_asked = threading.Event()
        self._fault: SystemFault | None = None
        self._firmware = ""

    def describe(self) -> dict[str, Any]:
        """As `EnergyMonitor` asks."""
        return {
            "instrument": "STMicroelectronics X-NUCLEO-LPM01A",
            "address": self._line.address,
            "firmware": self._firmware,
            "voltage_v": self._voltage_v,
            "rate_hz": self._rate_hz,
            "fullest_buffer_percent": self._recording.fullest_percent,
        }

    def start(self) -> None:
        """As `EnergyMonitor` asks. An acquisition that an earlier program left running is ended first."""
        self._quiet()
        self._command("htc")
        self._firmware = self._command("version").strip()
        rate = f"{self._rate_hz // 1000}k" if self._rate_hz >= 1000 else str(self._rate_hz)
        for command in (
            "pwr off",
            "acqtime inf",
            "trigdelay 0",
            "trigsrc sw",
            "eventsrc d7 fal",
            "output energy",
            "format ascii_dec",
            f"freq {rate}",
            f"volt {round(1000 * self._voltage_v)}m",
            "pwr on nostatus",
        ):
            self._command(command)
        self._recording = Recording(self._rate_hz)
        self._recording.feed(self._command("start", keep_rest=True).encode())
        self._fault = None
        self._stop_asked.clear()
        self._thread = threading.Thread(target=self._record, name="lpm01a", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """As `EnergyMonitor` asks."""
        if self._thread is None:
            return
        self._stop_asked.set()
        self._thread.join()
        self._thread = None
        if self._fault is not None:
            raise self._fault
        self._command("pwr off")
        self._command("hrc")

    def samples(self) -> EnergySamples:
        """As `EnergyMonitor` asks."""
        return self._recording.samples()

    def timestamps(self) -> tuple[float, ...]:
        """As `EnergyMonitor` asks.

        Raises:
            SystemFault: The numbers of the events show that one was lost.
        """
        if self._recording.missing_event:
            raise SystemFault(
                f"the LPM01A on {self._line.address} lost a timestamp: {self._recording.missing_event}; "
                "measure again, with nothing else on its USB hub"
            )
        return self._recording.timestamps()

    def close(self) -> None:
        """Stop, whatever state it is in, and let go of the line; may be called twice."""
        try:
            self.stop()
        except SystemFault:
            pass
        finally:
            self._line.close()

    def _record(self) -> None:
        try:
            asked_s: float | None = None
            while not self._recording.complete:
                self._recording.feed(self._line.read(0.05))
                if self._recording.failure is not None:
                    raise SystemFault(
                        f"the LPM01A on {self._line.address} broke off its acquisition: "
                        f"{self._recording.failure}; its buffer was up to "
                        f"{self._recording.fullest_percent} % full"
                    )
                if asked_s is None and self._stop_asked.is_set():
                    self._line.write(b"stop\r\n")
                    asked_s = time.monotonic()
                elif asked_s is not None and time.monotonic() - asked_s > self._timeout_s:
                    raise SystemFault(
                        f"the LPM01A on {self._line.address} did not stop within {self._timeout_s:g} s: "
                        "unplug it and measure again"
                    )
        except SystemFault as fault:
            self._fault = fault

    def _quiet(self) -> None:
        """End whatever acquisition is running and drop what it sent."""
        self._line.write(b"stop\r\n")
        deadline_s = time.monotonic() + self._timeout_s
        while self._line.read(0.1):
            if time.monotonic() > deadline_s:
                raise SystemFault(
                    f"the LPM01A on {self._line.address} goes on sending after 'stop': unplug it, try again"
                )

    def _command(self, command: str, keep_rest: bool = False) -> str:
        """Send a command and wait for its acknowledgement; what it answered beside, or what came after."""
        self._line.write(f"{command}\r\n".encode())
        pending, seen, deadline_s = b"", list[str](), time.monotonic() + self._timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            pending += self._line.read(min(left_s, 0.2))
            while b"\n" in pending:
                raw, pending = pending.split(b"\n", 1)
                line = _said(_text(raw))
                if line.startswith(f"ack {command}"):
                    return (
                        pending.decode("ascii", "replace")
                        if keep_rest
                        else line[4 + len(command) :]
                    )
                if line:
                    seen.append(line)
            if (
                refusal := [line for line in seen if line.lower().startswith("error")]
            ) and not pending:
                raise SystemFault(
                    f"the LPM01A on {self._line.address} refused {command!r}: {'; '.join(refusal)}"
                )
        last = "; ".join(seen[-_LINES_QUOTED:]) or "nothing"
        raise SystemFault(
            f"the LPM01A on {self._line.address} did not acknowledge {command!r} within "
            f"{self._timeout_s:g} s, it sent {last}: is this its port? If so, unplug it and try again"
        )


def _text(raw: bytes) -> str:
    # A NUL comes before the first sample after a time stamp.
    return raw.decode("ascii", "replace").replace("\0", "").strip()


def _said(line: str) -> str:
    return line.removeprefix(_PROMPT).strip()


def _joules(sample: str) -> float:
    return float(f"{sample[:4]}e{sample[4:]}")

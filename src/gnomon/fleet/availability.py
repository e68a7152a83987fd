"""When clients are there: times from a CSV file or from FedScale's behaviour trace, over and over.

A trace says when a client can be asked, and for how long it then stays; `Behaviour` heeds it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.files import write_atomically
from gnomon.fleet.device_files import plain_values, read_number, read_table
from gnomon.fleet.devices import Floats

COLUMNS = ("client", "start_s", "end_s")
PERIOD = "period_s"

Stretch = tuple[int, float, float]
"""A client, and from when until when it is there, in seconds of its period."""


@dataclass(frozen=True, eq=False)
class AvailabilityTrace:
    """Stretches of time in which each of N clients is there; each client's repeat with its period.

    Attributes:
        owners: Whose each stretch is, ascending, shape (I,).
        starts_s: When it begins, ascending for one client, shape (I,).
        ends_s: When it ends, at most the client's period and before its next start, shape (I,).
        periods_s: After which each client's stretches begin again, shape (N,).
        source: Where this comes from, in words.
    """

    owners: NDArray[np.int64] = field(repr=False)
    starts_s: Floats = field(repr=False)
    ends_s: Floats = field(repr=False)
    periods_s: Floats = field(repr=False)
    source: str = "given"

    @classmethod
    def of(
        cls, stretches: Iterable[Stretch], periods_s: Floats, source: str = "given"
    ) -> AvailabilityTrace:
        """A trace of stretches in any order; those of one client that overlap or touch become one.

        Raises:
            SettingsError: Nobody is ever there, or a stretch is not within its client's period.
        """
        merged: list[Stretch] = []
        for client, start_s, end_s in sorted(stretches):
            if not 0 <= start_s < end_s <= periods_s[client]:
                raise SettingsError(
                    f"client {client} is there from {start_s:g} s to {end_s:g} s: give a start before the "
                    f"end, and both within the period of {periods_s[client]:g} s"
                )
            if merged and merged[-1][0] == client and merged[-1][2] >= start_s:
                merged[-1] = (client, merged[-1][1], max(merged[-1][2], end_s))
            else:
                merged.append((client, start_s, end_s))
        if not merged:
            raise SettingsError(f"by the availability trace {source} nobody is ever there")
        owners, starts_s, ends_s = zip(*merged, strict=True)
        return cls(
            np.array(owners, dtype=np.int64),
            np.array(starts_s, dtype=np.float64),
            np.array(ends_s, dtype=np.float64),
            np.asarray(periods_s, dtype=np.float64),
            source,
        )

    def __len__(self) -> int:
        return len(self.periods_s)

    def there(self, now_s: float) -> NDArray[np.bool_]:
        """Who is there at this time, shape (N,); at its end a stretch is over."""
        phases_s = now_s % self.periods_s[self.owners]
        there = np.zeros(len(self), dtype=bool)
        there[self.owners[(self.starts_s <= phases_s) & (phases_s < self.ends_s)]] = True
        return there

    def next_change_s(self, now_s: float) -> float:
        """A time just after the next one at which somebody comes or goes, or could."""
        periods_s = self.periods_s[self.owners]
        phases_s = now_s % periods_s
        gaps_s = np.concatenate([self.starts_s - phases_s, self.ends_s - phases_s])
        ahead_s = gaps_s % np.tile(periods_s, 2)
        ahead_s = ahead_s[ahead_s > 0]
        least_s = float(ahead_s.min()) if len(ahead_s) else float(periods_s.min())
        # Just after: rounded to just before, nothing would have changed yet.
        return now_s + least_s + 1e-9 + 1e-12 * now_s

    def stays_s(self, clients: NDArray[np.int64], now_s: float) -> Floats:
        """How long each of these clients stays from now on: 0 if it is away, infinite if it never leaves."""
        left_s = np.zeros(len(clients))
        firsts = np.searchsorted(self.owners, clients, side="left")
        lasts = np.searchsorted(self.owners, clients, side="right")
        for place, (client, first, last) in enumerate(zip(clients, firsts, lasts, strict=True)):
            period_s = float(self.periods_s[client])
            phase_s = now_s % period_s
            current = int(np.searchsorted(self.starts_s[first:last], phase_s, side="right")) - 1
            if current < 0 or phase_s >= self.ends_s[first + current]:
                continue
            left_s[place] = self.ends_s[first + current] - phase_s
            if self.ends_s[first + current] == period_s and self.starts_s[first] == 0:
                # It stays over the turn of its period.
                left_s[place] += np.inf if current == 0 else self.ends_s[first]
        return left_s


def read_trace(path: Path, clients: int, period_s: float | None = None) -> AvailabilityTrace:
    """When each of so many clients is there, from a file.

    Args:
        path: A CSV file with columns `client,start_s,end_s`: a line for each stretch of time in which a
            client (from 0) is there; who has no line is never there. A column `period_s`, if there is one,
            says after how many seconds that client's stretches begin again. Or FedScale's behaviour trace
            (Lai et al., ICML 2022) as a pickle or JSON: for each client `active` and `inactive`, when it
            comes and goes, and `finish_time`, its period, all in seconds; client k has entry k, and entries
            are used over again if there are fewer than clients.
        clients: N.
        period_s: Of a CSV file without that column; None for the last end in it.

    Raises:
        DataError: The file is missing, damaged, or says something that cannot be; names line and column.
        SettingsError: `period_s` is out of range.
    """
    if period_s is not None and not (math.isfinite(period_s) and period_s > 0):
        raise SettingsError(f"period_s must be positive, got {period_s}")
    if path.suffix.lower() == ".csv":
        stretches, periods_s = _of_csv(path, clients, period_s)
    else:
        stretches, periods_s = _of_fedscale(path, clients)
    if not stretches:
        raise DataError(f"{path}: by this trace nobody is ever there")
    return AvailabilityTrace.of(stretches, periods_s, path.name)


def write_trace(trace: AvailabilityTrace, path: Path) -> None:
    """Write a trace as `read_trace` reads it, every number to its last digit.

    Raises:
        OSError: As the file system says it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, PERIOD])
    columns = (trace.owners, trace.starts_s, trace.ends_s, trace.periods_s[trace.owners])
    writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
    write_atomically(path, text.getvalue().encode())


def _of_csv(path: Path, clients: int, period_s: float | None) -> tuple[list[Stretch], Floats]:
    header, rows = read_table(path, COLUMNS, "stretch of time")
    stretches: list[Stretch] = []
    given_s: dict[int, float] = {}
    for line, row in rows:
        client = _client(path, line, row["client"], clients)
        start_s = read_number(path, line, row, "start_s")
        end_s = read_number(path, line, row, "end_s")
        if end_s <= start_s:
            raise DataError(
                f"{path} line {line}, end_s: must be above start_s {start_s:g}, got {end_s:g}"
            )
        if PERIOD in header:
            own_s = read_number(path, line, row, PERIOD)
            if given_s.setdefault(client, own_s) != own_s:
                raise DataError(
                    f"{path} line {line}, period_s: client {client} had {given_s[client]:g} before, got "
                    f"{own_s:g}"
                )
        stretches.append((client, start_s, end_s))
    common_s = period_s or max(end_s for _, _, end_s in stretches)
    periods_s = np.array([given_s.get(client, common_s) for client in range(clients)])
    for (line, _), (client, _, end_s) in zip(rows, stretches, strict=True):
        if end_s > periods_s[client]:
            raise DataError(
                f"{path} line {line}, end_s: must be at most the period, {periods_s[client]:g} s, got "
                f"{end_s:g}"
            )
    return stretches, periods_s


def _client(path: Path, line: int, text: str, clients: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < clients):
        raise DataError(
            f"{path} line {line}, client: must be a whole number from 0 to {clients - 1}, got {text!r}"
        )
    return int(text)


def _of_fedscale(path: Path, clients: int) -> tuple[list[Stretch], Floats]:
    loaded = plain_values(path)
    if not isinstance(loaded, dict) or not loaded:
        raise DataError(f"{path} must hold a dict of clients, got {type(loaded).__name__}")
    entries = list(loaded.items())[:clients]
    read = [_entry(f"{path} client {key}", entry) for key, entry in entries]
    stretches = [
        (client, start_s, end_s)
        for client in range(clients)
        for start_s, end_s in read[client % len(read)][0]
    ]
    return stretches, np.array([read[client % len(read)][1] for client in range(clients)])


def _entry(where: str, entry: Any) -> tuple[list[tuple[float, float]], float]:
    """The stretches of one client of FedScale's, and its period."""
    try:
        period_s = float(entry["finish_time"])
        starts_s = [float(value) for value in entry["active"]]
        ends_s = [float(value) for value in entry["inactive"]]
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{where}: needs finish_time, a number, and active and inactive, lists of numbers; got "
            f"{entry!r:.80}"
        ) from None
    if not (math.isfinite(period_s) and period_s > 0):
        raise DataError(f"{where}, finish_time: must be positive, got {period_s:g}")
    if len(starts_s) == len(ends_s) + 1:
        ends_s.append(period_s)  # still there when the recording ended
    if len(starts_s) != len(ends_s):
        raise DataError(f"{where}: {len(starts_s)} times in active, {len(ends_s)} in inactive")
    stretches = []
    for start_s, end_s in zip(starts_s, ends_s, strict=True):
        if not 0 <= start_s <= end_s < math.inf:
            raise DataError(
                f"{where}: comes at {start_s:g} s and goes at {end_s:g} s, which must not be before"
            )
        if start_s < min(end_s, period_s):  # what lies past its period is never looked at
            stretches.append((start_s, min(end_s, period_s)))
    return stretches, period_s

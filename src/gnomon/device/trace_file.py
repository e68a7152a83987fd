"""EEMBC's energy trace files, read and written: `trace1-energy.bin` and `trace1-timestamps.json`.

They lie beside the log of an energy run in published submissions, so published energy can be recomputed.
Decoded from the files of MLPerf Tiny v1.2: a byte 0xF1, the sample rate in Hz, then microjoules of each
sample, all as little-endian 32-bit floats; the timestamps are seconds since the trace began, to the
millisecond.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gnomon.core.energy import BoundaryRule, EnergySamples, evenly_sampled
from gnomon.core.errors import DataError, described
from gnomon.core.files import write_atomically

TRACE_FORMAT = 0xF1
PUBLISHED_RULE: BoundaryRule = "running-sum"
"""How the application that wrote such traces sums them: use it to recompute published figures."""


def read_trace(energy_file: Path) -> EnergySamples:
    """The samples of a `*-energy.bin`, the first one beginning at 0 s.

    Raises:
        DataError: There is no such file, or it is not a trace, or cut short.
    """
    try:
        data = energy_file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the energy trace {energy_file}: {described(error)}") from None
    if len(data) < 5 or data[0] != TRACE_FORMAT:
        raise DataError(
            f"{energy_file} is no energy trace: it must start with the byte 0xF1 and a sample rate"
        )
    values = np.frombuffer(data[1 : 1 + (len(data) - 1) // 4 * 4], "<f4").astype(np.float64)
    rate_hz, energy_uj = float(values[0]), values[1:]
    if (len(data) - 1) % 4:
        raise DataError(
            f"{energy_file} ends inside sample {len(energy_uj)}: it was cut short, copy it again"
        )
    if not 0 < rate_hz < np.inf:
        raise DataError(f"{energy_file} gives its sample rate as {rate_hz} Hz (bytes 1 to 4)")
    if not np.isfinite(energy_uj).all():
        bad = int(np.flatnonzero(~np.isfinite(energy_uj))[0])
        raise DataError(f"{energy_file}: sample {bad} is {energy_uj[bad]}, no energy")
    return evenly_sampled(energy_uj * 1e-6, rate_hz)


def read_timestamps(timestamps_file: Path) -> tuple[float, ...]:
    """The seconds of a `*-timestamps.json`, in order.

    Raises:
        DataError: There is no such file, or it is not a list of rising numbers.
    """
    try:
        found = json.loads(timestamps_file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {timestamps_file}: {described(error)}") from None
    except ValueError as error:
        raise DataError(f"{timestamps_file} is no JSON: {described(error)}") from None
    if not isinstance(found, list):
        raise DataError(f"{timestamps_file} must hold a list of seconds")
    for place, value in enumerate(found):
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise DataError(f"{timestamps_file}: timestamp {place} is {value!r}, not seconds")
        if place and value < found[place - 1]:
            raise DataError(f"{timestamps_file}: timestamp {place} is before the one it follows")
    return tuple(float(value) for value in found)


def write_trace(
    folder: Path, samples: EnergySamples, timestamps_s: tuple[float, ...], name: str = "trace1"
) -> None:
    """Write both files of a trace.

    Energy is kept to seven digits and timestamps to the millisecond, as the format has them.

    Args:
        folder: Must exist.
        samples: Evenly spaced.
        timestamps_s: On the samples' clock; they are written relative to the first sample.
        name: What the files' names begin with.

    Raises:
        DataError: The samples are not evenly spaced, which the format cannot say.
    """
    if samples.rate_hz is None:
        raise DataError("an energy trace file is for evenly spaced samples only")
    numbers = np.concatenate([[samples.rate_hz], samples.energy_j * 1e6]).astype("<f4")
    write_atomically(folder / f"{name}-energy.bin", bytes([TRACE_FORMAT]) + numbers.tobytes())
    relative_s = [round(time_s - samples.start_s, 3) for time_s in timestamps_s]
    text = "[\n" + ",\n".join(f"\t{json.dumps(time_s)}" for time_s in relative_s) + "\n]"
    write_atomically(folder / f"{name}-timestamps.json", text.encode())

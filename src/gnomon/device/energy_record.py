"""What an energy monitor recorded, on disk beside the windows that it belongs to."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gnomon.core.energy import (
    EnergyFigures,
    EnergySamples,
    Gap,
    measure_windows,
    windows_between,
)
from gnomon.core.errors import RunFolderError
from gnomon.core.files import write_atomically
from gnomon.device.record import Window

ENERGY_FILE = "energy.npz"


def write_energy(folder: Path, samples: EnergySamples, timestamps_s: Sequence[float]) -> None:
    """Write samples and timestamps of a whole measurement."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        energy_j=samples.energy_j,
        boundaries_s=samples.boundaries_s,
        rate_hz=np.array(samples.rate_hz or 0.0),
        gap_times_s=np.array([gap.time_s for gap in samples.gaps], dtype=np.float64),
        gap_lost=np.array([gap.lost for gap in samples.gaps], dtype=np.int64),
        gap_since_s=np.array([_or_nan(gap.since_s) for gap in samples.gaps], dtype=np.float64),
        timestamps_s=np.asarray(timestamps_s, dtype=np.float64),
    )
    write_atomically(folder / ENERGY_FILE, buffer.getvalue())


def read_samples(folder: Path) -> tuple[EnergySamples, list[float]]:
    """Samples and timestamps.

    Raises:
        RunFolderError: The file is missing or cannot be read.
    """
    path = folder / ENERGY_FILE
    try:
        with np.load(path, allow_pickle=False) as stored:
            gaps = zip(
                *(stored[name].tolist() for name in ("gap_times_s", "gap_lost", "gap_since_s")),
                strict=True,
            )
            rate_hz = float(stored["rate_hz"]) or None
            samples = EnergySamples(
                stored["energy_j"],
                stored["boundaries_s"],
                rate_hz,
                tuple(
                    Gap(time_s, lost, None if math.isnan(since_s) else since_s)
                    for time_s, lost, since_s in gaps
                ),
            )
            return samples, stored["timestamps_s"].tolist()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}): it was changed or cut short"
        ) from None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def read_energy(folder: Path, windows: Sequence[Window]) -> EnergyFigures:
    """The energy of each window, from samples and timestamps.

    Raises:
        DataError: Timestamps and windows do not go together.
        RunFolderError: The file cannot be read.
    """
    samples, timestamps_s = read_samples(folder)
    timed = windows_between(timestamps_s, [window.iterations for window in windows])
    # A host's meter has few samples, unevenly spaced: those at the ends count in proportion.
    return measure_windows(samples, timed, "split" if samples.rate_hz is None else "nearest")

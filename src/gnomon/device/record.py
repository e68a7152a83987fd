"""What a board's measurement leaves on disk: windows as JSON, what was inferred as Parquet, the conversation.

Files are written whole after every window and every few seconds of an accuracy run, so that a run that is
broken off goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.core.errors import RunFolderError
from gnomon.core.files import write_atomically
from gnomon.device.task import Results

WINDOWS_FILE = "windows.json"
RESULTS_FILE = "results.parquet"
LOG_FILE = "log.txt"


@dataclass(frozen=True)
class Window:
    """One timed window: the same input, inferred over and over.

    Attributes:
        sample: Which sample of the task.
        file: Its name.
        iterations: Timed inferences.
        warmups: Untimed ones before.
        start_us: The board's clock when it began.
        end_us: The same at the end; a counter of 32 bits that wrapped is unwrapped.
        host_clock: Whether these are the host's times: in energy mode a board tells none.
        wrapped: Whether the counter did.
        host_start_ns: The host's monotonic clock when the first timestamp arrived.
        host_end_ns: The same of the second.
        results: What the board printed of the last inference.
    """

    sample: int
    file: str
    iterations: int
    warmups: int
    start_us: int
    end_us: int
    host_clock: bool
    wrapped: bool
    host_start_ns: int
    host_end_ns: int
    results: tuple[float, ...]

    @property
    def duration_s(self) -> float:
        """By the board's clock."""
        return (self.end_us - self.start_us) / 1e6

    @property
    def inferences_per_s(self) -> float:
        """By the board's clock."""
        return self.iterations / self.duration_s


@dataclass(frozen=True)
class Inferred:
    """What a board printed for one payload of one sample."""

    sample: int
    payload: int
    results: Results


def write_windows(folder: Path, windows: Sequence[Window]) -> None:
    """Write all windows of a measurement."""
    text = json.dumps([asdict(window) for window in windows], indent=1)
    write_atomically(folder / WINDOWS_FILE, (text + "\n").encode())


def read_windows(folder: Path) -> list[Window]:
    """The windows of a measurement; none if it has none.

    Raises:
        RunFolderError: The file cannot be read.
    """
    path = folder / WINDOWS_FILE
    if not path.exists():
        return []
    try:
        stored = json.loads(path.read_text())
        return [Window(**{**each, "results": tuple(each["results"])}) for each in stored]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunFolderError(
            f"{path} cannot be read ({error}): it was changed or cut short"
        ) from None


def write_results(folder: Path, inferred: Sequence[Inferred]) -> None:
    """Write everything that was inferred so far."""
    table = pa.table(
        {
            "sample": pa.array([each.sample for each in inferred], pa.int32()),
            "payload": pa.array([each.payload for each in inferred], pa.int32()),
            "results": pa.array(
                [each.results.tolist() for each in inferred], pa.list_(pa.float64())
            ),
        }
    )
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(folder / RESULTS_FILE, buffer.getvalue().to_pybytes())


def read_results(folder: Path) -> list[Inferred]:
    """Everything that was inferred; nothing if there is no such file.

    Raises:
        RunFolderError: The file cannot be read.
    """
    path = folder / RESULTS_FILE
    if not path.exists():
        return []
    try:
        columns = pq.read_table(path).to_pydict()
        return [
            Inferred(sample, payload, np.asarray(results, dtype=np.float64))
            for sample, payload, results in zip(
                columns["sample"], columns["payload"], columns["results"], strict=True
            )
        ]
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        words = " ".join(str(error).split())
        raise RunFolderError(
            f"{path} cannot be read ({words}): it was changed or cut short"
        ) from None

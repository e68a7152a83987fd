"""The raw record of one test: one row a sample, as arrays, and as Parquet in the run folder.

Everything that is reported is computed from this table and the settings; `gnomon check` does it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gnomon.core.errors import RunFolderError

SAMPLES_FILE = "samples.parquet"
SCHEMA = pa.schema(
    [
        ("query", pa.int64()),
        ("sample_index", pa.int32()),
        ("scheduled_ns", pa.int64()),
        ("issued_ns", pa.int64()),
        ("completed_ns", pa.int64()),
    ]
)
COLUMNS = tuple(SCHEMA.names)
ROW_GROUP = 1 << 20


@dataclass(frozen=True)
class Samples:
    """One row a sample, in the order of issue; the row number is the sample's id.

    Times are nanoseconds since the start of the test. Arrays have shape (n,).

    Attributes:
        query: Number of the query the sample belongs to.
        sample_index: Index into the task's data set.
        scheduled_ns: When the sample was due. Latency counts from here in Server and Offline.
        issued_ns: When a worker took it.
        completed_ns: When its answer came; 0 if none came.
    """

    query: NDArray[np.int64]
    sample_index: NDArray[np.int32]
    scheduled_ns: NDArray[np.int64]
    issued_ns: NDArray[np.int64]
    completed_ns: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.sample_index)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which samples were completed."""
        return self.completed_ns > 0

    @property
    def latency_ns(self) -> NDArray[np.int64]:
        """Completed minus scheduled; meaningless where `answered` is false."""
        return self.completed_ns - self.scheduled_ns


def write_samples(samples: Samples, path: Path) -> None:
    """Write the table as Parquet: delta-coded integers, which these columns suit.

    Goes through a row group at a time, so that a long test needs no second copy in memory, and under
    another name until it is whole.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    partial = path.with_suffix(".partial")
    try:
        with pq.ParquetWriter(
            partial,
            SCHEMA,
            compression="snappy",
            use_dictionary=False,
            write_statistics=False,
            column_encoding=dict.fromkeys(COLUMNS, "DELTA_BINARY_PACKED"),
        ) as writer:
            for start in range(0, max(1, len(samples)), ROW_GROUP):
                rows = slice(start, start + ROW_GROUP)
                columns = [np.ascontiguousarray(getattr(samples, name)[rows]) for name in COLUMNS]
                writer.write_table(pa.table(columns, schema=SCHEMA), row_group_size=ROW_GROUP)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RunFolderError(
            f"cannot write {path}: {error.strerror or error}; make room or choose another folder with "
            f"--out"
        ) from None


def read_samples(path: Path) -> Samples:
    """Read the table back.

    Raises:
        RunFolderError: The file is missing, cut short or has other columns.
    """
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
        if table.schema.types != SCHEMA.types or any(table[name].null_count for name in COLUMNS):
            raise pa.ArrowInvalid("its columns are of other types, or have gaps")
    except FileNotFoundError:
        raise RunFolderError(f"{path} is missing: the run cannot be recomputed") from None
    except (pa.ArrowException, OSError, KeyError) as error:
        raise RunFolderError(f"{path} cannot be read as samples: {error}".splitlines()[0]) from None
    return Samples(*(table[name].to_numpy() for name in COLUMNS))

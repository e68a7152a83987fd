"""What a federation leaves in its run folder: rounds, clients, devices and final parameters, as files.

While it goes on there is `server.npz` instead, from which it can be resumed.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.core.errors import RunFolderError
from gnomon.core.files import sha256_of, write_atomically
from gnomon.fleet.availability import AvailabilityTrace, write_trace
from gnomon.fleet.device_files import read_devices, write_devices
from gnomon.fleet.devices import COSTS, Devices
from gnomon.fleet.grid_file import Grid, read_grid, write_grid
from gnomon.fleet.ledger import CLIENT, ROUND, Ledger, Rows
from gnomon.fleet.options import AVAILABILITY_FILE, DEVICES_FILE, GRID_FILE
from gnomon.fleet.orders import Parameters
from gnomon.fleet.server import SAVED, Server

ROUNDS_FILE = "rounds.parquet"
CLIENTS_FILE = "clients.parquet"
PARAMETERS_FILE = "parameters.npz"
NOTE = "note"


@dataclass(frozen=True)
class FleetSamples:
    """The raw record of a federation.

    Attributes:
        rounds: One row a round (`ledger.ROUND`).
        clients: One row for each client asked in each round (`ledger.CLIENT`).
        devices: What each client costs.
        grid: What the regret is taken against; None without one.
        notes: By (round, client): words about a client that was dropped, late or rejected.
    """

    rounds: Rows
    clients: Rows
    devices: Devices
    grid: Grid | None
    notes: dict[tuple[int, int], str]

    @property
    def ledger(self) -> Ledger:
        """Rounds and clients again as a ledger."""
        return Ledger.of(self.rounds, self.clients, self.notes)


def devices_sha256(devices: Devices) -> str:
    """Fingerprint of what the devices cost."""
    digest = hashlib.sha256()
    for name in COSTS:
        digest.update(getattr(devices, name).tobytes())
    return digest.hexdigest()


def keep_inputs(
    folder: Path, devices: Devices, grid: Grid | None, trace: AvailabilityTrace | None = None
) -> None:
    """Write devices, grid and trace once, at the start: their files may change, a record may not."""
    try:
        if not (folder / DEVICES_FILE).exists():
            write_devices(devices, folder / DEVICES_FILE)
        if grid is not None and not (folder / GRID_FILE).exists():
            write_grid(grid, folder / GRID_FILE)
        if trace is not None and not (folder / AVAILABILITY_FILE).exists():
            write_trace(trace, folder / AVAILABILITY_FILE)
    except OSError as error:
        raise _unwritable(folder, error) from None


def write_record(folder: Path, server: Server) -> None:
    """Write rounds, clients and parameters as of the last whole round.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    parameters, ledger = server.settled
    rounds, clients = ledger.rounds, ledger.clients
    notes = [
        ledger.notes.get((number, client), "")
        for number, client in zip(
            clients["round"].tolist(), clients["client"].tolist(), strict=True
        )
    ]
    buffer = io.BytesIO()
    np.savez(buffer, parameters=parameters)
    try:
        write_atomically(folder / ROUNDS_FILE, _parquet(rounds))
        write_atomically(folder / CLIENTS_FILE, _parquet(clients, {NOTE: notes}))
        write_atomically(folder / PARAMETERS_FILE, buffer.getvalue())
    except OSError as error:
        raise _unwritable(folder, error) from None


def clear_record(folder: Path) -> None:
    """Take away what a federation wrote when it was broken off: it goes on from what was saved."""
    for name in (ROUNDS_FILE, CLIENTS_FILE, PARAMETERS_FILE):
        (folder / name).unlink(missing_ok=True)


def fingerprints(folder: Path) -> dict[str, str]:
    """sha256 of each file of the record that is there."""
    own = (ROUNDS_FILE, CLIENTS_FILE, PARAMETERS_FILE)
    return {
        name: sha256_of(folder / name)
        for name in (*own, DEVICES_FILE, GRID_FILE, AVAILABILITY_FILE)
        if (folder / name).exists()
    }


def read_samples(folder: Path) -> FleetSamples:
    """The raw record; of a federation that was killed, as it was last saved.

    Raises:
        RunFolderError: It is missing or damaged.
        DataError: Devices or grid are damaged.
    """
    devices = read_devices(folder / DEVICES_FILE)
    grid = read_grid(folder / GRID_FILE) if (folder / GRID_FILE).exists() else None
    saved = folder / SAVED
    if not (folder / ROUNDS_FILE).exists() and saved.exists():
        arrays = _arrays(saved, "rounds", "clients")
        return FleetSamples(arrays[0], arrays[1], devices, grid, {})
    rounds, _ = _rows(folder / ROUNDS_FILE, ROUND)
    clients, words = _rows(folder / CLIENTS_FILE, CLIENT, NOTE)
    notes = {
        (int(row["round"]), int(row["client"])): note
        for row, note in zip(clients, words, strict=True)
        if note
    }
    return FleetSamples(rounds, clients, devices, grid, notes)


def read_parameters(folder: Path) -> Parameters:
    """The final parameters, shape (P,); of a federation that was killed, as they were last saved.

    Raises:
        RunFolderError: They are missing or damaged.
    """
    path = folder / PARAMETERS_FILE
    parameters: Parameters = _arrays(path if path.exists() else folder / SAVED, "parameters")[0]
    return parameters


def _parquet(rows: Rows, more: dict[str, list[str]] | None = None) -> bytes:
    columns: dict[str, Any] = {name: rows[name] for name in rows.dtype.names or ()}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns | (more or {})), sink)
    return sink.getvalue()


def _rows(path: Path, dtype: np.dtype[Any], *more: str) -> tuple[Rows, list[str]]:
    """The rows of a file, and the text of one further column."""
    names = list(dtype.names or ())
    try:
        table = pq.read_table(path, columns=[*names, *more])
        rows = np.zeros(len(table), dtype=dtype)
        for name in names:
            column = table[name]
            if column.null_count:
                raise pa.ArrowInvalid(f"column {name} has gaps")
            rows[name] = column.to_numpy()
        return rows, table[more[0]].to_pylist() if more else []
    except FileNotFoundError:
        raise RunFolderError(f"{path} is missing: the run cannot be recomputed") from None
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise RunFolderError(f"{path} cannot be read as rows: {error}".splitlines()[0]) from None


def _arrays(path: Path, *names: str) -> tuple[Any, ...]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            return tuple(stored[name] for name in names)
    except FileNotFoundError:
        raise RunFolderError(f"{path} is missing: the run cannot be recomputed") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(f"{path} is damaged: {error}".splitlines()[0]) from None


def _unwritable(folder: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"cannot write {folder}: {error.strerror or error}; make room or choose another folder with "
        f"--out"
    )

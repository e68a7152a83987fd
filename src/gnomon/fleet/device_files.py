"""Fleets from files and from distributions: a table of costs, FedScale's speed profile, simulated devices.

Each says in `Devices.source` where its figures come from, so that a report can tell measured from assumed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import DataError, SettingsError, UnknownNameError
from gnomon.core.files import write_atomically
from gnomon.fleet.devices import COSTS, Devices, Floats
from gnomon.fleet.randomness import keyed

SMALLEST_SHARE = 1 / 20
"""A normal draw below this share of the mean is raised to it: no device works in no time."""

Draw = Callable[[np.random.Generator, int, float], Floats]
"""Draws n values of mean 1 with this ratio of standard deviation to mean."""


def _lognormal(generator: np.random.Generator, count: int, spread: float) -> Floats:
    variance = math.log1p(spread * spread)
    return generator.lognormal(-variance / 2, math.sqrt(variance), count)


def _uniform(generator: np.random.Generator, count: int, spread: float) -> Floats:
    half = math.sqrt(3) * spread
    if half > 1:
        raise SettingsError(
            f"spread of a uniform distribution must be at most {1 / math.sqrt(3):.3f}, got {spread}: "
            f"beyond that some costs would be negative; take lognormal"
        )
    return generator.uniform(1 - half, 1 + half, count)


DISTRIBUTIONS: Mapping[str, Draw] = {
    "normal": lambda generator, count, spread: np.maximum(
        generator.normal(1, spread, count), SMALLEST_SHARE
    ),
    "uniform": _uniform,
    "lognormal": _lognormal,
    "equal": lambda generator, count, spread: np.ones(count),
}


def simulated_devices(
    distribution: str,
    clients: int,
    seed: int,
    spread: float = 1 / 3,
    compute_s: float = 0.1,
    communication_s: float = 2.0,
    compute_j: float = 1e-3,
    communication_j: float = 2e-2,
) -> Devices:
    """Clients whose four costs are drawn independently; the means are those of Luo et al. (INFOCOM 2021).

    Args:
        distribution: `normal` (raised to a twentieth of the mean), `uniform`, `lognormal` or `equal`.
        clients: N.
        seed: Equal seeds give equal devices.
        spread: Standard deviation over mean; the paper's is 1/3.
        compute_s: Mean seconds of a local iteration.
        communication_s: Mean seconds of an exchange of the model.
        compute_j: Mean joules of a local iteration.
        communication_j: Mean joules of an exchange.

    Raises:
        UnknownNameError: No such distribution.
        SettingsError: A number is out of range.
    """
    if distribution not in DISTRIBUTIONS:
        raise UnknownNameError("distribution of devices", distribution, DISTRIBUTIONS)
    if clients < 1:
        raise SettingsError(f"a fleet needs at least one client, got {clients}")
    if not (math.isfinite(spread) and spread >= 0):
        raise SettingsError(f"spread must be zero or more, got {spread}")

    def drawn(name: str, mean: float) -> Floats:
        if not (math.isfinite(mean) and mean >= 0):
            raise SettingsError(f"mean {name} must be zero or more, got {mean}")
        return mean * DISTRIBUTIONS[distribution](keyed(seed, f"devices {name}"), clients, spread)

    shape = "equal" if distribution == "equal" else f"{distribution}, std/mean {spread:.3g}"
    source = (
        f"simulated: {shape}, means {compute_s:g} s and {compute_j:g} J an iteration, "
        f"{communication_s:g} s and {communication_j:g} J an exchange, seed {seed}"
    )
    return Devices(
        drawn("compute_s", compute_s),
        drawn("communication_s", communication_s),
        drawn("compute_j", compute_j),
        drawn("communication_j", communication_j),
        source=source,
    )


def normal_devices(
    clients: int,
    seed: int,
    spread: float = 1 / 3,
    compute_s: float = 0.1,
    communication_s: float = 2.0,
    compute_j: float = 1e-3,
    communication_j: float = 2e-2,
) -> Devices:
    """The simulated fleet of Luo et al. (INFOCOM 2021), section VI; arguments as of `simulated_devices`."""
    return simulated_devices(
        "normal", clients, seed, spread, compute_s, communication_s, compute_j, communication_j
    )


def read_devices(path: Path) -> Devices:
    """Devices from a CSV file with a header: compute_s, communication_s, compute_j, communication_j, name.

    Columns may be in any order, `name` may be missing, other columns are left alone, and a line that starts
    with # is a remark.

    Raises:
        DataError: The file is missing, empty or damaged; the message has line and column.
    """
    header, rows = read_table(path, COSTS)
    columns = {
        column: np.array([read_number(path, *row, column) for row in rows]) for column in COSTS
    }
    names: tuple[str, ...] = ()
    if "name" in header:
        lines: dict[str, int] = {}
        for line, row in rows:
            name = row["name"]
            if not name:
                raise DataError(f"{path} line {line}: name is empty")
            if name in lines:
                raise DataError(
                    f"{path} line {line}: {name!r} is on line {lines[name]} already: names must differ"
                )
            lines[name] = line
        names = tuple(lines)
    return Devices(**columns, source=f"file {path.name}", names=names)


def read_shares(path: Path) -> Floats:
    """Each client's share of all samples, p_k = n_k / n, from the column `samples` of a file of devices.

    Raises:
        DataError: There is no such column, or what it holds are not numbers of samples.
    """
    _, rows = read_table(path, ("samples",))
    samples = np.array([read_number(path, *row, "samples") for row in rows])
    if samples.sum() == 0:
        raise DataError(f"{path}: samples are zero in every line")
    shares: Floats = samples / samples.sum()
    return shares


def write_devices(devices: Devices, path: Path) -> None:
    """Write devices as `read_devices` reads them, every number to its last digit.

    Raises:
        OSError: As the file system says it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(["name"] if devices.names else []), *COSTS])
    columns: list[Iterable[Any]] = [getattr(devices, column).tolist() for column in COSTS]
    if devices.names:
        columns.insert(0, devices.names)
    writer.writerows(zip(*columns, strict=True))
    write_atomically(path, text.getvalue().encode())


def fedscale_devices(
    path: Path,
    clients: int,
    seed: int,
    *,
    batch_size: int = 24,
    model_bytes: float = 31_400.0,
    compute_watts: float = 2.0,
    radio_watts: float = 1.0,
) -> Devices:
    """Clients drawn from FedScale's speed profile of phones (Lai et al., ICML 2022); energy by a power model.

    Seconds are as FedScale has them: an iteration takes three times the inference time of its batch (forward
    and backward), an exchange the model twice (down and up) over the bandwidth. The profile has no energy:
    joules are seconds times two constant powers, which are ASSUMPTIONS of round size for a phone (watts above
    idle of its processor and of its radio): give those of your devices.

    Args:
        path: `device_info` as a pickle, JSON or CSV (`computation,communication`): for each device
            `computation`, ms a sample, and `communication`, kbit/s.
        clients: How many to draw: different ones while the profile lasts, then over again.
        seed: Of the draw.
        batch_size: Samples a local iteration.
        model_bytes: Size of the model; default: float32 logistic regression, 784 x 10.
        compute_watts: Power while computing.
        radio_watts: Power while exchanging.

    Raises:
        DataError: The file is missing or holds something else; a pickle with anything but plain values is
            refused unread.
        SettingsError: A number is out of range.
    """
    for name, value in (
        ("clients", clients),
        ("batch_size", batch_size),
        ("model_bytes", model_bytes),
        ("compute_watts", compute_watts),
        ("radio_watts", radio_watts),
    ):
        if not (math.isfinite(value) and value > 0):
            raise SettingsError(f"{name} must be positive, got {value}")
    profile = _speeds(path)
    generator = keyed(seed, "fedscale devices")
    laps = [generator.permutation(len(profile)) for _ in range(-(-clients // len(profile)))]
    ms_per_sample, kbps = profile[np.concatenate(laps)[:clients]].T
    compute_s = 3 * batch_size * ms_per_sample / 1000
    communication_s = 2 * model_bytes * 8 / (kbps * 1000)
    return Devices(
        compute_s,
        communication_s,
        compute_watts * compute_s,
        radio_watts * communication_s,
        source=f"FedScale's speed profile {path.name}, batch {batch_size}, model {model_bytes:g} bytes, "
        f"seed {seed}; joules assumed: {compute_watts:g} W computing, {radio_watts:g} W exchanging",
    )


def _speeds(path: Path) -> Floats:
    """Ms a sample and kbit/s of every device of a profile, shape (n, 2)."""
    columns = ("computation", "communication")
    if path.suffix == ".csv":
        _, rows = read_table(path, columns)
        entries: list[tuple[str, Any]] = [(f"line {line}", row) for line, row in rows]
    else:
        loaded = plain_values(path)
        if not isinstance(loaded, dict):
            raise DataError(f"{path} must hold a dict of devices, got {type(loaded).__name__}")
        entries = [(f"device {key}", value) for key, value in loaded.items()]
    speeds = []
    for where, entry in entries:
        try:
            pair = [float(entry[column]) for column in columns]
        except (KeyError, TypeError, ValueError):
            pair = [math.nan]
        if not all(math.isfinite(value) and value > 0 for value in pair):
            raise DataError(
                f"{path} {where}: computation and communication must be positive numbers, got {entry!r:.80}"
            )
        speeds.append(pair)
    if not speeds:
        raise DataError(f"{path} holds no device")
    return np.array(speeds)


def plain_values(path: Path) -> Any:
    """What a JSON file, or a pickle of dicts, lists, strings and numbers alone, holds.

    Raises:
        DataError: It is missing or damaged; a pickle with anything but plain values is refused unread.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    try:
        return json.loads(data) if path.suffix == ".json" else _Plain(io.BytesIO(data)).load()
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        kind = "JSON" if path.suffix == ".json" else "a pickle"
        raise DataError(f"{path} cannot be read as {kind}: {error}") from None


class _Plain(pickle.Unpickler):
    """Loads dicts, strings and numbers, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise DataError(
            f"it holds {module}.{name}, and only plain numbers are loaded: save it as JSON"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("it refers to data outside of it, and only plain numbers are loaded")


def read_table(
    path: Path, needed: Sequence[str], each: str = "device"
) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Header of a CSV file, and each line below it that holds something, with its number.

    Args:
        path: UTF-8; empty lines and those that begin with # are passed over.
        needed: Columns it must have.
        each: What a line stands for, in words.

    Raises:
        DataError: It is missing, damaged, lacks a column or holds nothing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a text file: save the table as CSV, UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    header: list[str] = []
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        for cells in reader:
            values = [cell.strip() for cell in cells]
            if not any(values) or values[0].startswith("#"):
                continue
            if not header:
                header = values
                twice = {name for name in header if name and header.count(name) > 1}
                if twice:
                    raise DataError(f"{path} names the column {', '.join(sorted(twice))} twice")
                missing = [name for name in needed if name not in header]
                if missing:
                    raise DataError(
                        f"{path} has no column {', '.join(missing)}: its first line must name "
                        f"{','.join(needed)}"
                    )
                continue
            if len(values) != len(header):
                raise DataError(
                    f"{path} line {reader.line_num} has {len(values)} values for {len(header)} columns"
                )
            rows.append((reader.line_num, dict(zip(header, values, strict=True))))
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: {error}") from None
    if not header:
        raise DataError(f"{path} is empty: its first line must name the columns")
    if not rows:
        raise DataError(f"{path} holds no {each}: give one a line below the names of the columns")
    return header, rows


def read_number(path: Path, line: int, row: Mapping[str, str], column: str) -> float:
    """A number in a table, zero or more.

    Raises:
        DataError: It is something else; names line and column.
    """
    try:
        value = float(row[column])
    except ValueError:
        raise DataError(f"{path} line {line}, {column}: {row[column]!r} is not a number") from None
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"{path} line {line}, {column}: must be zero or more, got {row[column]}")
    return value

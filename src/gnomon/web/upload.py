"""What a page sends of one test: a JSON header and arrays, read strictly, since anybody may have made them.

    uint32, little-endian   length of the header
    header                  JSON: which test, its conditions and faults; name, type and shape of each array
    arrays                  little-endian, one after the other: issued_ns, completed_ns, output-0, output-1 …

Lengths and shapes are held against the body before anything is made of them.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from gnomon.core.errors import DataError
from gnomon.core.spec import first_of
from gnomon.loadgen.conditions import Conditions
from gnomon.loadgen.session import MOST_FAULTS_KEPT, Fault
from gnomon.loadgen.settings import NS_PER_S
from gnomon.web.asked import Part, one_line

LARGEST_BODY = 64 << 20
LARGEST_HEADER = 1 << 16
MOST_ROWS = 4_000_000
MOST_OUTPUTS = 8
MOST_DIMENSIONS = 6
LATEST_NS = 2.0**53
"""Whole numbers up to here are exact in float64; it is 104 days."""
LATEST_MS = 4_102_444_800_000
"""The year 2100, as a clock of the other side may say it."""

_PREFIX = struct.Struct("<I")
_TIMES = ("issued_ns", "completed_ns")
_TYPES = {
    name: np.dtype(name).newbyteorder("<")
    for name in ("float32", "float64", "int8", "uint8", "int32", "int64")
}

Word = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,40}$")]
Milliseconds = Annotated[float, Field(ge=0, le=LATEST_MS)]


class _Battery(Part):
    level_start: float = Field(ge=0, le=1)
    level_end: float = Field(ge=0, le=1)
    charging_start: bool
    charging_end: bool


class _Conditions(Part):
    """None is what a browser cannot tell. Each has to be said: nothing passes for want of a word."""

    cooldown_s: float | None = Field(ge=0)
    battery: _Battery | None
    hidden_ms: float = Field(ge=0)
    visibility_changes: int = Field(ge=0, lt=2**31)
    clock_resolution_ns: float = Field(gt=0)
    clock_drift_ppm: float
    long_tasks_ms: float = Field(ge=0)
    online: bool


class _Fault(Part):
    """A kind becomes the name of a check, and must be none that a rule has."""

    kind: Literal["hidden", "interrupted", "schedule"]
    message: str = Field(min_length=1, max_length=500)


class _Array(Part):
    name: Word
    dtype: Literal["float32", "float64", "int8", "uint8", "int32", "int64"]
    shape: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        min_length=1, max_length=MOST_DIMENSIONS
    )


class _Header(Part):
    test: Word
    kind: Literal["performance", "accuracy"]
    started_at_ms: Milliseconds
    warm_up_calls: int = Field(default=0, ge=0, lt=2**31)
    interrupted: bool = False
    faults: list[_Fault] = Field(default=[], max_length=MOST_FAULTS_KEPT)
    conditions: _Conditions | None = None
    arrays: list[_Array] = Field(min_length=2, max_length=2 + MOST_OUTPUTS)


@dataclass(frozen=True)
class Upload:
    """One test as a page sent it.

    Attributes:
        test: Its name.
        kind: `performance` or `accuracy`.
        started_at: By the page's clock.
        faults: What went wrong there; an interruption is one.
        conditions: Of a performance test: what the page knows of them.
        issued_ns: When each sample was issued, int64 (n,), from the start of the test.
        completed_ns: When it was answered, int64 (n,).
        outputs: Of an accuracy test: one array for each output of the model, each (n, …).
    """

    test: str
    kind: str
    started_at: datetime
    faults: tuple[Fault, ...]
    conditions: Conditions | None
    issued_ns: NDArray[np.int64]
    completed_ns: NDArray[np.int64]
    outputs: tuple[NDArray[np.generic], ...]

    @property
    def ended_at(self) -> datetime:
        """When its last answer came, by the page's clock."""
        return self.started_at + timedelta(seconds=self.duration_s)

    @property
    def duration_s(self) -> float:
        """From the start of the test to its last answer, as the page has it."""
        return int(self.completed_ns.max()) / NS_PER_S


def read_upload(body: bytes) -> Upload:
    """The body of a test.

    Raises:
        DataError: It is not what it has to be; the message says where.
    """
    header, data = _split(body)
    arrays = _arrays(header, data)
    issued_ns, completed_ns = (_whole_ns(name, arrays[name]) for name in _TIMES)
    if (np.diff(issued_ns) < 0).any() or (completed_ns < issued_ns).any():
        raise DataError(
            "issued_ns, completed_ns: these times cannot have happened: samples are issued in order, and "
            "answered after that"
        )
    if not completed_ns.all():
        # A coarse clock may answer at 0, which on record means that no answer came.
        issued_ns, completed_ns = issued_ns + 1, completed_ns + 1
    faults = [Fault(fault.kind, one_line(fault.message)) for fault in header.faults]
    if header.interrupted and not faults:
        faults = [Fault("interrupted", "the test was interrupted on the device: run it again")]
    return Upload(
        test=header.test,
        kind=header.kind,
        started_at=datetime.fromtimestamp(header.started_at_ms / 1e3, UTC),
        faults=tuple(faults),
        conditions=_conditions(header),
        issued_ns=issued_ns,
        completed_ns=completed_ns,
        outputs=tuple(array for name, array in arrays.items() if name not in _TIMES),
    )


def _split(body: bytes) -> tuple[_Header, memoryview]:
    if len(body) < _PREFIX.size:
        raise DataError(
            "the body is too short to hold the length of its header: send 4 bytes of it"
        )
    (length,) = _PREFIX.unpack_from(body)
    if not 0 < length <= min(LARGEST_HEADER, len(body) - _PREFIX.size):
        raise DataError(
            f"the header is said to have {length} bytes: it has 1 to {LARGEST_HEADER}, and the body "
            f"{len(body)} in all"
        )
    stop = _PREFIX.size + length
    try:
        header = _Header.model_validate_json(body[_PREFIX.size : stop])
    except ValidationError as error:
        raise DataError(f"header: {one_line(first_of(error))[:300]}") from None
    return header, memoryview(body)[stop:]


def _arrays(header: _Header, data: memoryview) -> dict[str, NDArray[np.generic]]:
    """The arrays by name, views of the body."""
    outputs = len(header.arrays) - len(_TIMES)
    wanted = [*_TIMES, *(f"output-{number}" for number in range(outputs))]
    found = [array.name for array in header.arrays]
    if found != wanted:
        raise DataError(f"arrays: expected {', '.join(wanted)}, got {', '.join(found)}")
    if bool(outputs) != (header.kind == "accuracy"):
        raise DataError(
            f"arrays: a {header.kind} test has {'outputs' if not outputs else 'no outputs'}, got {outputs}"
        )
    rows = header.arrays[0].shape[0]
    if not 0 < rows <= MOST_ROWS:
        raise DataError(f"arrays: a test has 1 to {MOST_ROWS} rows, got {rows}")
    sizes = []
    for array in header.arrays:
        if array.name in _TIMES and (array.dtype != "float64" or len(array.shape) != 1):
            raise DataError(
                f"{array.name}: expected float64 ({rows},), got {array.dtype} {array.shape}"
            )
        if array.shape[0] != rows:
            raise DataError(f"{array.name}: expected {rows} rows, got {array.shape[0]}")
        sizes.append(math.prod(array.shape) * _TYPES[array.dtype].itemsize)
    if sum(sizes) != len(data):
        raise DataError(
            f"the arrays are said to have {sum(sizes)} bytes, and {len(data)} follow the header: send "
            f"them one after the other, whole"
        )
    made: dict[str, NDArray[np.generic]] = {}
    start = 0
    for array, size in zip(header.arrays, sizes, strict=True):
        flat = np.frombuffer(data[start : start + size], dtype=_TYPES[array.dtype])
        made[array.name] = flat.reshape(array.shape)
        start += size
    return made


def _whole_ns(name: str, times: NDArray[np.generic]) -> NDArray[np.int64]:
    values = times.astype(np.float64)
    if not ((values >= 0) & (values <= LATEST_NS)).all() or (values != np.floor(values)).any():
        raise DataError(f"{name}: times are whole nanoseconds from 0 to 2^53, got others")
    return values.astype(np.int64)


def _conditions(header: _Header) -> Conditions | None:
    """The conditions of a performance test, which has to state them."""
    told = header.conditions
    if header.kind == "accuracy":
        return None
    if told is None:
        raise DataError("header: conditions: a performance test has to state its conditions")
    battery = told.battery
    return Conditions(
        cooldown_s=told.cooldown_s,
        charging_start=battery.charging_start if battery else None,
        charging_end=battery.charging_end if battery else None,
        battery_level_start=battery.level_start if battery else None,
        battery_level_end=battery.level_end if battery else None,
        hidden_ms=told.hidden_ms,
        visibility_changes=told.visibility_changes,
        clock_resolution_ns=told.clock_resolution_ns,
        clock_drift_ppm=told.clock_drift_ppm,
        long_tasks_ms=told.long_tasks_ms,
        warm_up_calls=header.warm_up_calls,
        online=told.online,
    )

"""A test in progress: what has been issued and answered, what went wrong, whether to stop.

The drivers in `drive.py` issue and complete through a `Session`; the monitor reads it for progress and
stalls; the journal behind it keeps the times.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import IndexArray, Outputs
from gnomon.loadgen.journal import Journal
from gnomon.loadgen.schedule import IssueOrder
from gnomon.loadgen.settings import Settings

now_ns = time.perf_counter_ns
"""The clock of every measurement: monotonic, so that setting the wall clock moves nothing."""

OutputSink = Callable[[NDArray[np.int64], IndexArray, Outputs], None]
"""Takes (sample ids, sample indices, outputs) of what was answered; accuracy mode keeps them."""

MOST_FAULTS_KEPT = 20
PLAIN_CONTAINERS = (np.ndarray, list, tuple, dict, str, bytes)


@dataclass(frozen=True)
class Fault:
    """Something the system, or the machine, did that no valid test may contain.

    Attributes:
        kind: `raised`, `stalled`, `completed_twice`, `unknown_query`, `wrong_output_count`,
            `not_finite`, `not_materialised`, `overloaded`, `max_duration`, `max_query_count`, `clock_jumped`.
        message: What happened and what to do, in one line.
    """

    kind: str
    message: str


class Session:
    """The issuing of one loaded set to one system.

    Rows are samples in the order of issue. `first_row` is where this set's rows begin in the journal:
    0 but for accuracy mode, which goes through several sets. Times are relative to `start_ns`, the
    start of the whole test.
    """

    def __init__(
        self,
        order: IssueOrder,
        settings: Settings,
        journal: Journal,
        *,
        first_row: int = 0,
        sink: OutputSink | None = None,
    ) -> None:
        self.order = order
        self.settings = settings
        self.journal = journal
        self.first_row = first_row
        self.sink = sink
        self.start_ns = 0
        self.set_start_ns = 0
        self.issued = 0
        self.completed = 0
        self.last_completed_ns = 0
        self.last_outputs: Outputs | None = None
        self.faults: list[Fault] = []
        self.fault_count = 0
        self.failures: list[BaseException] = []
        self.stopping = False
        self.all_issued = False
        self.closed = False
        self.completed_late = 0
        self.lock = threading.Lock()
        self.idle = threading.Event()
        self.in_chunk: tuple[int, list[int], list[int]] | None = None

    def start(self, start_ns: int | None = None) -> None:
        """Start the clock of this set; `start_ns` is the start of the test if it had earlier sets."""
        self.set_start_ns = now_ns()
        self.start_ns = self.set_start_ns if start_ns is None else start_ns

    def fault(self, kind: str, message: str, *, stop: bool = False, once: bool = False) -> None:
        """Put a fault on record; with `stop`, also end the test; with `once`, unless it is there."""
        if once and any(fault.kind == kind for fault in self.faults):
            return
        self.fault_count += 1
        if len(self.faults) < MOST_FAULTS_KEPT:
            self.faults.append(Fault(kind, message))
        if stop:
            self.stopping = True
            self.idle.set()

    def close(self) -> None:
        """From here on nothing is written: the record is what it is."""
        with self.lock:
            self.closed = True

    def fail(self, error: BaseException) -> None:
        """Something of ours failed, such as a write: the test ends, and its watcher raises this."""
        self.failures.append(error)
        self.stopping = True
        self.idle.set()

    def raised(self, error: BaseException, row: int) -> None:
        """The system raised while answering the query at `row`: the test ends."""
        text = str(error).strip().splitlines()
        detail = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
        self.fault(
            "raised",
            f"the system raised {detail} (sample {self.first_row + row}): mend the system and run again",
            stop=True,
        )

    def count_matches(self, outputs: Outputs, wanted: int, row: int) -> bool:
        """Whether there are as many outputs as samples; if not, the test ends with a fault."""
        try:
            found = len(outputs)
        except TypeError:
            kind = type(outputs).__name__
            self.fault(
                "wrong_output_count",
                f"the system returned {kind}, not a sequence of {wanted} outputs "
                f"(sample {self.first_row + row})",
                stop=True,
            )
            return False
        if found != wanted:
            self.fault(
                "wrong_output_count",
                f"the system returned {found} outputs for {wanted} samples "
                f"(sample {self.first_row + row}): return one output a sample, in order",
                stop=True,
            )
        return found == wanted

    def answer(self, start: int, stop: int, outputs: Outputs) -> None:
        """Rows `start` to `stop` were answered just now by a synchronous system."""
        completed_ns = now_ns() - self.start_ns
        if not self.count_matches(outputs, stop - start, start):
            return
        offset = self.first_row
        with self.lock:
            if self.closed:
                return
            self.journal.completed_ns[offset + start : offset + stop] = completed_ns
            self.completed += stop - start
            self.last_completed_ns = max(self.last_completed_ns, completed_ns)
        self.last_outputs = outputs
        if self.sink is not None:
            samples = self.order.samples(*self._queries(start, stop)).reshape(-1)
            with self.lock:
                self.sink(np.arange(offset + start, offset + stop), samples, outputs)

    def complete(self, ids: NDArray[np.int64], outputs: Outputs) -> None:
        """Samples with these ids were answered just now; called by asynchronous systems."""
        completed_ns = now_ns() - self.start_ns
        rows = np.asarray(ids, dtype=np.int64).reshape(-1)
        with self.lock:
            if self.closed:
                self.completed_late += len(rows)
                return
            low, high = self.first_row, self.first_row + self.issued
            unknown = (rows < low) | (rows >= high)
            if not self.count_matches(outputs, len(rows), 0):
                return
            if unknown.any():
                self.fault(
                    "unknown_query",
                    f"the system completed sample id {int(rows[unknown][0])}, which was not issued: "
                    f"complete each query with its own ids",
                )
                outputs = _pick(outputs, ~unknown)
                rows = rows[~unknown]
            column = self.journal.completed_ns
            again = column[rows] > 0
            if len(rows) > 1:
                first = np.zeros(len(rows), dtype=bool)
                first[np.unique(rows, return_index=True)[1]] = True
                again |= ~first
            if again.any():
                self.fault(
                    "completed_twice",
                    f"the system completed sample id {int(rows[again][0])} twice: complete each "
                    f"sample once",
                )
                outputs = _pick(outputs, ~again)
                rows = rows[~again]
            if not len(rows):
                return
            column[rows] = completed_ns
            self.completed += len(rows)
            self.last_completed_ns = max(self.last_completed_ns, completed_ns)
            self.last_outputs = outputs
            if self.sink is not None:
                width = self.order.samples_per_query
                local = rows - self.first_row
                first_query, last_query = int(local.min()) // width, int(local.max()) // width + 1
                block = self.order.samples(first_query, last_query).reshape(-1)
                try:
                    self.sink(rows, block[local - first_query * width], outputs)
                except Exception as error:  # not for the system's thread, which we are in
                    self.fail(error)
            if self.completed >= self.issued:
                self.idle.set()

    def flush_chunk(self) -> None:
        """Write the rows of a closed loop's current chunk, also when its worker hangs."""
        if self.in_chunk is None:
            return
        first_query, begins, ends = self.in_chunk
        self.in_chunk = None
        width = self.order.samples_per_query
        count = min(len(begins), len(ends))
        row = self.first_row + first_query * width
        rows = slice(row, row + count * width)
        begun = np.fromiter(begins, dtype=np.int64, count=count)
        ended = np.fromiter(ends, dtype=np.int64, count=count)
        begun -= self.start_ns
        ended -= self.start_ns
        # A row issued in the clock's first nanosecond must not look like one never issued.
        begun[:1] = np.maximum(begun[:1], 1)
        self.journal.issued_ns[rows].reshape(count, width)[:] = begun[:, None]
        self.journal.completed_ns[rows].reshape(count, width)[:] = ended[:, None]
        if len(begins) > count:  # the query that hangs, or that the system raised on
            unanswered = slice(rows.stop, rows.stop + width)
            self.journal.issued_ns[unanswered] = max(1, begins[count] - self.start_ns)
            self.issued += width
        self.issued += count * width
        self.completed += count * width
        if count:
            self.last_completed_ns = int(ended[-1])

    def look_at_outputs(self) -> None:
        """Look at the last outputs: NaN is no answer, nor is what has yet to be worked out."""
        outputs = self.last_outputs
        if outputs is None:
            return
        lazy = foreign_type(outputs)
        if lazy:
            self.fault(
                "not_materialised",
                f"the system answered with {lazy}, which may be worked out only when it is read, after "
                f"the clock has stopped: return NumPy arrays, numbers, text, bytes, or lists of them",
                once=True,
            )
        elif not all_finite(outputs):
            self.fault(
                "not_finite",
                "the system answered NaN or infinity: check the model and its inputs",
                once=True,
            )

    def _queries(self, start: int, stop: int) -> tuple[int, int]:
        width = self.order.samples_per_query
        return start // width, stop // width


def foreign_type(outputs: Outputs) -> str:
    """The type of outputs, or of one among them, that may not be worked out yet; empty if all are."""
    if isinstance(outputs, np.ndarray):
        return ""
    if not isinstance(outputs, PLAIN_CONTAINERS):
        return type(outputs).__name__
    for output in outputs:
        if not isinstance(output, (np.ndarray, np.generic)) and hasattr(output, "__array__"):
            return type(output).__name__
    return ""


def all_finite(outputs: Any) -> bool:
    """Whether every number in these outputs is finite; what is no number passes."""
    if isinstance(outputs, (list, tuple)):
        return all(all_finite(output) for output in outputs)
    if isinstance(outputs, dict):
        return all(all_finite(output) for output in outputs.values())
    if isinstance(outputs, np.ndarray) and outputs.dtype == object:
        return all(all_finite(output) for output in outputs.reshape(-1))
    if isinstance(outputs, (np.ndarray, np.generic, float, complex)):
        array = np.asarray(outputs)
        return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
    return True


def _pick(outputs: Outputs, chosen: NDArray[np.bool_]) -> Outputs:
    if isinstance(outputs, np.ndarray):
        return outputs[chosen]
    return [output for output, keep in zip(outputs, chosen, strict=False) if keep]

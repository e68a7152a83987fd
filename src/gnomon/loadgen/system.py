"""The `System` interface of the load protocol: what is measured.

There are two kinds. A `SynchronousSystem` answers when called, so the load generator's workers call
it and time the call. An `AsynchronousSystem` takes a query and completes it later, from any thread,
process or event loop, whole or sample by sample, in any order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError
from gnomon.core.task import IndexArray, Outputs, Task


class System(ABC):
    """What both kinds share: a name, a description, and a life around the clock.

    Attributes:
        name: Short name shown in tables and logs.
        max_batch_size: The most samples one call may hold. In Server and Offline a worker pulls up
            to this many at once.
    """

    name: str
    max_batch_size: int = 1

    def describe(self) -> dict[str, Any]:
        """What a stranger needs to measure the same system again; goes into `run.json`."""
        return {}

    @abstractmethod
    def load(self, task: Task, samples: IndexArray) -> None:
        """Bring these samples' inputs to where the system reads them. Untimed.

        Called before each test, and in accuracy mode before each loaded set.
        """

    def close(self) -> None:  # noqa: B027 - most systems hold nothing
        """Let go of whatever is held. Called once, also after a failure."""


class SynchronousSystem(System):
    """A system that answers when called. Several workers may call it at once."""

    @abstractmethod
    def predict(self, samples: IndexArray) -> Outputs:
        """Answer these samples, shape (n,): n outputs in the same order. This is what is timed."""


class Query:
    """What an `AsynchronousSystem` is handed: samples to answer, each with an id.

    Attributes:
        ids: One id a sample, shape (n,), unique in the test.
        samples: Their indices in the task's data set, shape (n,).
    """

    __slots__ = ("_complete", "ids", "samples")

    def __init__(
        self,
        ids: NDArray[np.int64],
        samples: IndexArray,
        complete: Callable[[NDArray[np.int64], Outputs], None],
    ) -> None:
        self.ids = ids
        self.samples = samples
        self._complete = complete

    def complete(
        self, outputs: Outputs, ids: Sequence[int] | NDArray[np.int64] | None = None
    ) -> None:
        """Hand back answers: for the whole query, or for the samples with these ids.

        May be called from any thread. The time of the call is the time of completion.
        """
        self._complete(self.ids if ids is None else np.asarray(ids, dtype=np.int64), outputs)


class AsynchronousSystem(System):
    """A system that completes queries later.

    Attributes:
        max_outstanding: Offline: the most samples it wants in hand at once.
    """

    max_outstanding: int = 1024

    @abstractmethod
    def issue(self, query: Query) -> None:
        """Take a query and return at once; call `query.complete(outputs)` when it is answered."""


def of_the_system(error: BaseException) -> BaseException:
    """What a system raised, to be put on record; Ctrl-C is not the system's, and goes on its way.

    `sys.exit` in a system must not end the run silently, and a cancelled event loop is no `Exception`.
    """
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        raise error
    return error


class InputTable:
    """Inputs held in memory, looked up by sample index.

    The usual body of `System.load`: `self.inputs = InputTable(task, samples)`, then
    `self.inputs[samples]` gives the batch.
    """

    def __init__(self, task: Task, samples: IndexArray) -> None:
        unique = np.unique(samples)
        self._inputs = task.inputs(unique)
        if len(self._inputs) != len(unique):
            raise SettingsError(
                f"task {task.name!r} gave {len(self._inputs)} inputs for {len(unique)} samples"
            )
        # A performance test loads samples 0..n-1: then an index is a row, and no lookup is needed.
        self._rows: NDArray[np.int64] | None = None
        if len(unique) and int(unique[-1]) != len(unique) - 1:
            self._rows = np.full(int(unique[-1]) + 1, -1, dtype=np.int64)
            self._rows[unique] = np.arange(len(unique))

    def __getitem__(self, samples: IndexArray) -> Any:
        """The inputs of these samples: an array if the task gave one, else a list."""
        rows = samples if self._rows is None else self._rows[samples]
        if isinstance(self._inputs, np.ndarray):
            return self._inputs[rows]
        return [self._inputs[row] for row in rows]


class CallableSystem(SynchronousSystem):
    """Any function from a batch of inputs to a batch of outputs, as a system.

    run = gnomon.run("digits", system=lambda images: images.reshape(len(images), -1) @ weights)
    """

    def __init__(
        self,
        function: Callable[[Any], Outputs],
        *,
        name: str | None = None,
        max_batch_size: int = 64,
    ) -> None:
        self.function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self.max_batch_size = max_batch_size

    def describe(self) -> dict[str, Any]:
        """Where the function comes from."""
        return {
            "callable": f"{getattr(self.function, '__module__', '?')}."
            f"{getattr(self.function, '__qualname__', self.name)}",
            "max_batch_size": self.max_batch_size,
        }

    def load(self, task: Task, samples: IndexArray) -> None:
        """Keep the inputs in memory."""
        self._inputs = InputTable(task, samples)

    def predict(self, samples: IndexArray) -> Outputs:
        """Call the function on the batch of inputs."""
        return self.function(self._inputs[samples])

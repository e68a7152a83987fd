"""The null system: answers nothing, at once. It measures the load generator itself."""

from __future__ import annotations

import numpy as np

from gnomon.core.task import IndexArray, Outputs, Task
from gnomon.loadgen.system import SynchronousSystem


class NullSystem(SynchronousSystem):
    """Hands the indices back as its answers."""

    name = "null"

    def __init__(self, max_batch_size: int = 1 << 16) -> None:
        self.max_batch_size = max_batch_size

    def load(self, task: Task, samples: IndexArray) -> None:
        """Nothing to load."""

    def predict(self, samples: IndexArray) -> Outputs:
        """The indices themselves."""
        return np.asarray(samples)

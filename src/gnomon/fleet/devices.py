"""What a fleet's devices cost: seconds and joules of an iteration and of an exchange of the model.

The terms are those of Luo et al., "Cost-effective federated learning design" (INFOCOM 2021), section III: in
a round, client k takes `compute_s[k] * E + communication_s[k]` seconds and
`compute_j[k] * E + communication_j[k]` joules.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Devices:
    """The costs of N clients; every array has shape (N,).

    Attributes:
        compute_s: Seconds of one local iteration.
        communication_s: Seconds of one exchange: the model down, the update up.
        compute_j: Joules of one local iteration.
        communication_j: Joules of one exchange.
        source: Where these figures come from, in words.
        names: Names of the clients; empty if they have none.
    """

    compute_s: Floats
    communication_s: Floats
    compute_j: Floats
    communication_j: Floats
    source: str = "given"
    names: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        clients = len(self.compute_s)
        if clients == 0:
            raise SettingsError("a fleet needs at least one client, got none")
        for name in COSTS:
            values = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, values)
            if values.shape != (clients,):
                raise SettingsError(
                    f"{name} must hold one number a client, got shape {values.shape} for {clients} clients"
                )
            wrong = np.flatnonzero(~np.isfinite(values) | (values < 0))
            if len(wrong):
                which = self.names[wrong[0]] if self.names else f"client {wrong[0]}"
                raise SettingsError(
                    f"{name} must be zero or more, got {values[wrong[0]]} for {which}: "
                    f"measure it again or leave this client out"
                )

    def __len__(self) -> int:
        return len(self.compute_s)

    def duration_s(self, local_iterations: float) -> Floats:
        """Seconds each client takes for a round of so many local iterations, shape (N,)."""
        return self.compute_s * local_iterations + self.communication_s

    def energy_j(self, local_iterations: float) -> Floats:
        """Joules each client takes for a round of so many local iterations, shape (N,)."""
        return self.compute_j * local_iterations + self.communication_j


COSTS = ("compute_s", "communication_s", "compute_j", "communication_j")

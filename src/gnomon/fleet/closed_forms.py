"""The best E for a given K, and the best K for a given E, in closed form.

For problem P3 of Luo et al. (INFOCOM 2021): the convergence bound with every client's costs replaced by their
mean, E and K real. Exact where devices are equal; `solve.py` alternates between the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gnomon.fleet.devices import Devices
from gnomon.fleet.rounds import Bound, sampling_spread


@dataclass(frozen=True)
class Relaxed:
    """P3: the mean costs of N clients, the weight of joules, the constants of the bound.

    Attributes:
        clients: N.
        gamma: Dollars a joule; a second is 1 - gamma.
        bound: A0, B0 and epsilon.
        compute_s: Mean seconds of a local iteration.
        communication_s: Mean seconds of an exchange.
        compute_j: Mean joules of a local iteration.
        communication_j: Mean joules of an exchange.
    """

    clients: int
    gamma: float
    bound: Bound
    compute_s: float
    communication_s: float
    compute_j: float
    communication_j: float

    @classmethod
    def of(cls, devices: Devices, gamma: float, bound: Bound) -> Relaxed:
        """P3 of these devices."""
        return cls(
            len(devices),
            gamma,
            bound,
            float(devices.compute_s.mean()),
            float(devices.communication_s.mean()),
            float(devices.compute_j.mean()),
            float(devices.communication_j.mean()),
        )

    def cost(self, local_iterations: float, clients_per_round: float) -> float:
        """Dollars to the target at E and K, with the mean time in place of the slowest client's."""
        seconds = self.compute_s * local_iterations + self.communication_s
        joules = clients_per_round * (self.compute_j * local_iterations + self.communication_j)
        rounds = self.bound.rounds(local_iterations, clients_per_round, self.clients)
        return float(rounds) * ((1 - self.gamma) * seconds + self.gamma * joules)


def best_clients_per_round(relaxed: Relaxed, local_iterations: float) -> float:
    """K*(E): the real K from 1 to N with the least cost at this E.

    The cost is `a + b K + c / K` in K, least at `sqrt(c / b)`.

    Args:
        relaxed: P3.
        local_iterations: E, 1 or more.
    """
    clients, bound = relaxed.clients, relaxed.bound
    if clients == 1:
        return 1.0
    drift = bound.b0 * local_iterations * local_iterations
    seconds = relaxed.compute_s * local_iterations + relaxed.communication_s
    joules = relaxed.compute_j * local_iterations + relaxed.communication_j
    falling = (1 - relaxed.gamma) * seconds * drift * clients
    rising = relaxed.gamma * joules * (bound.a0 * (clients - 1) + drift * (clients - 2))
    if falling == 0:
        return 1.0
    if rising == 0:
        return float(clients)
    return min(max(math.sqrt(falling / rising), 1.0), float(clients))


def best_local_iterations(relaxed: Relaxed, clients_per_round: float) -> float:
    """E*(K): the real E, 1 or more, with the least cost at this K; infinite if ever more iterations help.

    The positive root of `2 B P E³ + B M E² - A0 M = 0`, with P the dollars of an iteration, M those of an
    exchange, B = B0 g(K). With s = M / (6 P) and u = 27 (A0 / B) (P / M)², Cardano's solution is
    `s (r + 1/r - 1)`, r = (sqrt(u) + sqrt(u - 1))**(2/3), for u >= 1, and
    `s (sqrt(3) sin(d/3) - 2 sin(d/6)²)`, d = 2 asin(sqrt(u)), below: in this form nothing cancels.

    Args:
        relaxed: P3.
        clients_per_round: K, from 1 to N.
    """
    gamma = relaxed.gamma
    iteration = (1 - gamma) * relaxed.compute_s + gamma * clients_per_round * relaxed.compute_j
    exchange = (
        1 - gamma
    ) * relaxed.communication_s + gamma * clients_per_round * relaxed.communication_j
    drift = relaxed.bound.b0 * float(1 + sampling_spread(clients_per_round, relaxed.clients))
    if exchange == 0 or relaxed.bound.a0 == 0:
        return 1.0
    if drift == 0:
        return math.inf
    ratio = relaxed.bound.a0 / drift
    share = iteration / exchange
    scaled = 27 * ratio * share * share
    if scaled < 1e-30:  # iterations are free
        root = math.sqrt(ratio)
    elif scaled > 1e30:  # exchanges nearly are
        root = math.cbrt(ratio / (2 * share))
    elif scaled >= 1:
        grown = (math.sqrt(scaled) + math.sqrt(scaled - 1)) ** (2 / 3)
        root = (grown + 1 / grown - 1) / (6 * share)
    else:
        angle = 2 * math.asin(math.sqrt(scaled))
        root = (math.sqrt(3) * math.sin(angle / 3) - 2 * math.sin(angle / 6) ** 2) / (6 * share)
    return max(root, 1.0)

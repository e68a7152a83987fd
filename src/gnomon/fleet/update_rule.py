"""From a round's updates to the next model: screening, aggregation or private mean, server optimiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gnomon.fleet.aggregate import Aggregation, combine, parse_aggregation, screen
from gnomon.fleet.devices import Floats
from gnomon.fleet.orders import Order, Outcome, Parameters, Report
from gnomon.fleet.privacy import Privacy, central_mean, require_accountable
from gnomon.fleet.server_optimizers import ServerOptimizer, State, parse_server_optimizer, step
from gnomon.fleet.settings import FederatedSettings


@dataclass(frozen=True)
class UpdateRule:
    """How a server goes from one model to the next.

    Attributes:
        aggregation: Of updates.
        optimizer: What takes the aggregate as its gradient.
        privacy: Clipping and noise; None for none.
        max_update_norm: Longer updates are clipped to it; None for any length.
        seed: Of the noise.
        staleness_power: An update that began s rounds ago counts (1 + s)**-staleness_power times itself.
    """

    aggregation: Aggregation
    optimizer: ServerOptimizer
    privacy: Privacy | None
    max_update_norm: float | None
    seed: int
    staleness_power: float = 0.0

    @classmethod
    def of(cls, settings: FederatedSettings) -> UpdateRule:
        """The rule that these settings ask for.

        Raises:
            SettingsError: They contradict each other.
        """
        aggregation = parse_aggregation(settings.aggregation)
        if settings.sampling == "weighted" and aggregation.kind == "samples":
            # Whoever has more samples is drawn more often: weighting once more would count them twice.
            aggregation = Aggregation("mean")
        privacy = None
        if settings.clip_norm is not None:
            require_accountable(aggregation, settings.sampling)
            privacy = Privacy(settings.clip_norm, settings.noise_multiplier)
        optimizer = parse_server_optimizer(settings.server_optimizer)
        return cls(
            aggregation,
            optimizer,
            privacy,
            settings.max_update_norm,
            settings.seed,
            settings.staleness_power,
        )

    def screened(self, reports: Sequence[Report], parameters: Parameters) -> tuple[Report, ...]:
        """The reports, those that cannot be used rejected; all of them if too few are left to aggregate."""
        checked = screen(reports, parameters.shape, self.max_update_norm)
        used = sum(report.outcome is Outcome.USED for report in checked)
        if used >= self.aggregation.fewest:
            return checked
        why = f"aggregation {self.aggregation} needs {self.aggregation.fewest} updates, {used} came"
        return tuple(_left_out(report, why) for report in checked)

    def apply(
        self,
        state: State,
        parameters: Parameters,
        order: Order,
        used: Sequence[tuple[Report, int]],
        weights: Floats,
    ) -> tuple[State, Parameters]:
        """Optimiser state and model after a round.

        Args:
            state: Of the optimiser.
            parameters: The model before, shape (P,).
            order: Of the round.
            used: Its screened reports and how often each client was drawn; at least one.
            weights: p_k of all clients, shape (N,).
        """
        updates = np.stack(
            [
                report.update * np.float32(staleness_weight(report.staleness, self.staleness_power))
                for report, _ in used
                if report.update is not None
            ]
        )
        if self.privacy:
            direction = central_mean(
                self.privacy, updates, order.wanted, self.seed, order.round_number
            )
        else:
            clients = np.array([report.client for report, _ in used])
            drawn = np.array([drawn for _, drawn in used], dtype=np.int64)
            direction = combine(self.aggregation, updates, weights[clients], len(weights), drawn)
        return step(self.optimizer, state, parameters, direction)


def staleness_weight(staleness: int, power: float) -> float:
    """What an update is multiplied by, before it is aggregated: (1 + staleness)**-power.

    With power 0.5 that of FedBuff (Nguyen et al., AISTATS 2022). What is lost in weight is not made up for: K
    updates are still divided by K.
    """
    return float((1 + staleness) ** -power)


def mean_norm(reports: Sequence[Report]) -> float:
    """Mean L2 norm of these reports' updates; NaN of none."""
    updates = [report.update for report in reports if report.update is not None]
    if not updates:
        return math.nan
    return math.fsum(math.sqrt(float(update @ update)) for update in updates) / len(updates)


def _left_out(report: Report, why: str) -> Report:
    if report.outcome is not Outcome.USED:
        return report
    return replace(report, outcome=Outcome.REJECTED, update=None, note=why)

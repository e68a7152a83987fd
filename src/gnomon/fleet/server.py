"""The server of a federation: asks its controller for K and E, picks clients, aggregates, keeps the ledger.

It has no clock and no clients: whoever drives it (`simulated.py`, Flower's server process) carries its orders
out and brings reports back.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.files import write_atomically
from gnomon.fleet.devices import Devices, Floats
from gnomon.fleet.learner import Learner, LocalTraining
from gnomon.fleet.ledger import CLIENT, ROUND, Ledger
from gnomon.fleet.orders import Decision, Order, Outcome, Parameters, Report, Reports, Stop
from gnomon.fleet.randomness import keyed
from gnomon.fleet.settings import FederatedSettings
from gnomon.fleet.state import Controller, State

SAVED = "server.npz"
DIVERGED = 10.0
"""A loss of so many times the initial one ends training: it does not come back from there."""
FRUITLESS_ROUNDS = 20
"""So many rounds in a row without a usable report end training."""


@dataclass(frozen=True)
class Ended:
    """Why a federation is over."""

    reason: Literal["target", "rounds", "stopped", "diverged", "no reports"]
    why: str


class Server:
    """A federation in progress.

    Attributes:
        samples: n_k of every client, shape (N,); `weights` are their shares p_k.
        parameters: The model as it stands, shape (P,).
        ledger: Every round so far.
        ended: Why it is over; None while it goes on.
    """

    def __init__(
        self,
        settings: FederatedSettings,
        learner: Learner,
        devices: Devices,
        samples: NDArray[np.int64],
        controller: Controller,
    ) -> None:
        if len(samples) != len(devices):
            raise SettingsError(
                f"{len(devices)} devices and {len(samples)} clients with data: give one device a client"
            )
        self.settings = settings
        self.learner = learner
        self.devices = devices
        self.samples = samples
        self.weights: Floats = samples / samples.sum()
        self.controller = controller
        self.ledger = Ledger()
        self.ended: Ended | None = None
        self._initial = learner.initial(settings.seed)
        self.parameters: Parameters = self._initial
        self.initial_loss = self._loss(self._initial) if settings.evaluate_every else math.nan
        self._best, self._best_loss = self._initial, self.initial_loss
        self._best_step = 0
        self._step = 0
        self._decision: Decision | None = None
        self._fruitless = 0

    @property
    def state(self) -> State:
        """What the controller sees."""
        settings = self.settings
        return State(
            devices=self.devices,
            weights=self.weights,
            gamma=settings.gamma,
            target_loss=settings.target_loss,
            initial_loss=self.initial_loss,
            history=self.ledger.rounds,
            max_local_iterations=settings.max_local_iterations,
            seed=settings.seed,
        )

    def next_order(self, available: NDArray[np.int64] | None = None) -> Order | None:
        """The next round, or None when the federation is over (`ended` says why).

        Args:
            available: Numbers of the clients that can be asked now; all if None.
        """
        if self.ended:
            return None
        number = len(self.ledger.rounds)
        if number >= self.settings.max_rounds:
            self.ended = Ended("rounds", f"{number} rounds were run, the most that were allowed")
            return None
        decision = self.controller.next(self.state)
        if isinstance(decision, Stop):
            self.ended = Ended("stopped", decision.why)
            return None
        decision = self._within_limits(decision)
        self._decision = decision
        self._start_from(decision.start)
        clients, draws = self._sample(number, decision.clients_per_round, available)
        return Order(
            round_number=number,
            clients=clients,
            draws=draws,
            wanted=min(decision.clients_per_round, len(clients)),
            local_iterations=decision.local_iterations,
            learning_rate=self.settings.learning_rate_at(self._step),
            deadline_s=self.settings.deadline_s,
            parameters=self.parameters,
        )

    def receive(self, order: Order, reports: Reports) -> None:
        """Take in what came of the latest order: aggregate, evaluate, write the ledger, see if it is over."""
        decision = self._decision
        if decision is None or order.round_number != len(self.ledger.rounds):
            raise ValueError(f"reports for round {order.round_number}, which was not asked for")
        screened = tuple(self._screened(report) for report in reports.reports)
        used = [
            (report, int(drawn))
            for report, drawn in zip(screened, order.draws, strict=True)
            if report.outcome is Outcome.USED
        ]
        if used:
            self._fruitless = 0
            self.parameters = self._aggregated(order, used)
        else:
            self._fruitless += 1
        step = self._step
        self._step += 1
        loss, quality = self._evaluated(order.round_number)
        self.ledger.add(
            screened,
            order.draws.tolist(),
            round=order.round_number,
            phase=decision.phase,
            start=decision.start,
            step=step,
            clients_per_round=decision.clients_per_round,
            local_iterations=decision.local_iterations,
            learning_rate=order.learning_rate,
            duration_s=reports.duration_s,
            loss=loss,
            quality=quality,
        )
        self._decision = None
        self._judge(order.round_number, loss)

    def local_training(self, order: Order) -> LocalTraining:
        """How the clients of this order train."""
        return LocalTraining(
            local_iterations=order.local_iterations,
            batch_size=self.settings.batch_size,
            learning_rate=order.learning_rate,
            proximal=self.settings.proximal,
            seed=self.settings.seed,
            round_number=order.round_number,
        )

    def _within_limits(self, decision: Decision) -> Decision:
        clients, iterations = decision
        if not 1 <= clients <= len(self.devices) or iterations < 1:
            raise SettingsError(
                f"controller {self.controller.name} chose K={clients}, E={iterations}; K must be from 1 to "
                f"{len(self.devices)}, E at least 1"
            )
        return decision

    def _start_from(self, start: str) -> None:
        if start == "beginning":
            self.parameters, self._step = self._initial, 0
        elif start == "best":
            self.parameters, self._step = self._best, self._best_step

    def _sample(
        self, number: int, wanted: int, available: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The clients to ask, and how often each was drawn."""
        pool = np.arange(len(self.devices)) if available is None else available
        generator = keyed(self.settings.seed, "clients", number)
        asked = math.ceil(wanted * self.settings.over_selection - 1e-9)
        if self.settings.sampling == "weighted":
            shares = self.weights[pool] / self.weights[pool].sum()
            drawn = generator.choice(pool, size=asked, replace=True, p=shares)
            clients, draws = np.unique(drawn, return_counts=True)
            return clients.astype(np.int64), draws.astype(np.int64)
        clients = np.sort(generator.choice(pool, size=min(asked, len(pool)), replace=False))
        return clients.astype(np.int64), np.ones(len(clients), dtype=np.int64)

    def _screened(self, report: Report) -> Report:
        """The report, rejected if its update cannot be used."""
        if report.outcome is not Outcome.USED:
            return report
        update = report.update
        if update is None or update.shape != self.parameters.shape:
            shape = None if update is None else update.shape
            return replace(
                report,
                outcome=Outcome.REJECTED,
                update=None,
                note=f"update has shape {shape}, the model {self.parameters.shape}",
            )
        if not np.isfinite(update).all():
            return replace(
                report, outcome=Outcome.REJECTED, update=None, note="update is not finite"
            )
        return report

    def _aggregated(self, order: Order, used: list[tuple[Report, int]]) -> Parameters:
        updates = np.stack([report.update for report, _ in used if report.update is not None])
        drawn = np.array([drawn for _, drawn in used], dtype=np.float64)
        counts = np.array([report.samples for report, _ in used], dtype=np.float64)
        shares = drawn if self.settings.sampling == "weighted" else drawn * counts
        shares = (shares / shares.sum()).astype(np.float32)
        aggregated: Parameters = self.parameters + shares @ updates
        return aggregated

    def _evaluated(self, number: int) -> tuple[float, float]:
        """Loss and quality after this round; NaN if they are not due."""
        every = self.settings.evaluate_every
        if not every or (number + 1) % every:
            return math.nan, math.nan
        loss = self._loss(self.parameters)
        if loss < self._best_loss:
            self._best, self._best_loss, self._best_step = self.parameters, loss, self._step
        return loss, self.learner.quality(self.parameters)

    def _loss(self, parameters: Parameters) -> float:
        loss = self.learner.loss(parameters)
        return loss if math.isfinite(loss) else math.inf

    def _judge(self, number: int, loss: float) -> None:
        target = self.settings.target_loss
        if target is not None and loss <= target:
            self.ended = Ended("target", f"the loss reached {loss:.4f} in round {number}")
        elif loss > DIVERGED * max(self.initial_loss, 1e-12):
            self.ended = Ended(
                "diverged",
                f"the loss is {loss:.3g} after round {number}, it was {self.initial_loss:.3g} at first: "
                f"use a smaller learning rate",
            )
        elif self._fruitless >= FRUITLESS_ROUNDS:
            self.ended = Ended(
                "no reports",
                f"no client reported anything usable in {FRUITLESS_ROUNDS} rounds: see the ledger's notes",
            )

    def save(self, folder: Path) -> None:
        """Write everything a restarted server needs; whole or not at all."""
        arrays = {
            "parameters": self.parameters,
            "best": self._best,
            "rounds": self.ledger.rounds,
            "clients": self.ledger.clients,
        }
        rest = {
            "settings": self.settings.model_dump(mode="json"),
            "initial_loss": self.initial_loss,
            "best_loss": self._best_loss,
            "best_step": self._best_step,
            "step": self._step,
            "fruitless": self._fruitless,
            "ended": vars(self.ended) if self.ended else None,
            "notes": [[*place, note] for place, note in self.ledger.notes.items()],
        }
        buffer = io.BytesIO()
        np.savez(buffer, rest=np.array(json.dumps(rest)), **arrays)  # type: ignore[arg-type]
        write_atomically(folder / SAVED, buffer.getvalue())

    def restore(self, folder: Path) -> None:
        """Go on where a server with the same settings had saved.

        Raises:
            DataError: The file cannot be read, or was saved with other settings.
        """
        path = folder / SAVED
        try:
            with np.load(path, allow_pickle=False) as stored:
                rest = json.loads(str(stored["rest"]))
                arrays = {
                    name: stored[name] for name in ("parameters", "best", "rounds", "clients")
                }
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{path} cannot be read ({error}): start the federation anew") from None
        if rest["settings"] != self.settings.model_dump(mode="json"):
            raise DataError(f"{path} was saved with other settings: start the federation anew")
        if arrays["rounds"].dtype != ROUND or arrays["clients"].dtype != CLIENT:
            raise DataError(f"{path} was saved by another version: start the federation anew")
        if arrays["parameters"].shape != self._initial.shape:
            raise DataError(f"{path} holds another model: start the federation anew")
        self.parameters, self._best = arrays["parameters"], arrays["best"]
        notes = {(int(a), int(b)): str(note) for a, b, note in rest["notes"]}
        self.ledger = Ledger.of(arrays["rounds"], arrays["clients"], notes)
        self.initial_loss, self._best_loss = rest["initial_loss"], rest["best_loss"]
        self._best_step, self._step = rest["best_step"], rest["step"]
        self._fruitless = rest["fruitless"]
        self.ended = Ended(**rest["ended"]) if rest["ended"] else None

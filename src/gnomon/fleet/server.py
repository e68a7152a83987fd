"""The server of a federation: asks its controller for K and E, picks clients, aggregates, keeps the ledger.

It has no clock and no clients: whoever drives it (`simulated.py`, Flower's server process) carries its orders
out and brings reports back.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, SettingsError
from gnomon.core.files import write_atomically
from gnomon.fleet.devices import Devices, Floats
from gnomon.fleet.learner import Learner, LocalTraining
from gnomon.fleet.ledger import CLIENT, ROUND, Ledger
from gnomon.fleet.orders import Decision, Order, Outcome, Parameters, Report, Reports, Stop
from gnomon.fleet.randomness import keyed
from gnomon.fleet.server_optimizers import initial_state, restored_state
from gnomon.fleet.settings import FederatedSettings
from gnomon.fleet.state import Controller, State
from gnomon.fleet.update_rule import UpdateRule, mean_norm

SAVED = "server.npz"
DIVERGED = 10.0
"""A loss of so many times the initial one ends training: it does not come back from there."""
AVERAGED = 8
"""Models whose average is evaluated: with few clients a round models jump about, their average hardly."""
FRUITLESS_ROUNDS = 20
"""So many rounds in a row without a usable report end training."""

_ARRAYS = ("parameters", "best", "recent", "rounds", "clients")
_CARRIED = "carried_"


@dataclass(frozen=True)
class Ended:
    """Why a federation is over."""

    reason: Literal["target", "rounds", "budget", "stopped", "diverged", "no reports"]
    why: str


@dataclass(frozen=True)
class _Standing:
    """Where a federation stands after a whole round: what `save` writes."""

    arrays: dict[str, NDArray[Any]]
    recent: tuple[Parameters, ...]
    rest: dict[str, Any]


class Server:
    """A federation in progress.

    Attributes:
        samples: n_k of every client, shape (N,); `weights` are their shares p_k.
        parameters: The model as it stands, shape (P,).
        ledger: Every round so far.
        ended: Why it is over; None while it goes on.
        carried: Arrays that whoever drives it wants saved and restored along with it; set before `receive`.
        pending_j: Joules that clients at work have used and no round was charged yet; set before `receive`.
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
        settings.require_clients(len(devices))
        self.settings = settings
        self.learner = learner
        self.devices = devices
        self.samples = samples
        self.weights: Floats = samples / samples.sum()
        self.controller = controller
        self.ledger = Ledger()
        self.ended: Ended | None = None
        self._rule = UpdateRule.of(settings)
        self._initial = learner.initial(settings.seed)
        self._optimizer = initial_state(self._rule.optimizer, len(self._initial))
        self.parameters: Parameters = self._initial
        self.initial_loss = self._loss(self._initial) if settings.evaluate_every else math.nan
        self._best, self._best_loss = self._initial, self.initial_loss
        self._best_step = 0
        self._step = 0
        self._recent: list[Parameters] = []
        self._decision: Decision | None = None
        self._fruitless = 0
        self.carried: dict[str, NDArray[Any]] = {}
        self.pending_j = 0.0
        self._standing = self._stands()

    @property
    def settled(self) -> tuple[Parameters, Ledger]:
        """Model and ledger as of the last whole round, also in the middle of the next."""
        arrays = self._standing.arrays
        ledger = Ledger.of(arrays["rounds"], arrays["clients"], self.ledger.notes)
        return arrays["parameters"], ledger

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
            max_duration_s=settings.max_duration_s,
            max_energy_j=settings.max_energy_j and settings.max_energy_j - self.pending_j,
            weighted_sampling=settings.sampling == "weighted",
            averaged=AVERAGED,
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
        clients, draws = sampled_clients(
            self.settings, self.weights, number, decision.clients_per_round, available
        )
        return Order(
            round_number=number,
            clients=clients,
            draws=draws,
            wanted=min(decision.clients_per_round, len(clients)),
            local_iterations=decision.local_iterations,
            learning_rate=self.settings.learning_rate_at(self._step),
            deadline_s=self.settings.deadline_s,
            parameters=self.parameters,
            start=decision.start,
        )

    def receive(self, order: Order, reports: Reports) -> None:
        """Take in what came of the latest order: aggregate, evaluate, write the ledger, see if it is over."""
        decision = self._decision
        if decision is None or order.round_number != len(self.ledger.rounds):
            raise ValueError(f"reports for round {order.round_number}, which was not asked for")
        screened = self._rule.screened(reports.reports, self.parameters)
        used = [
            (report, int(drawn))
            for report, drawn in zip(screened, order.draws, strict=True)
            if report.outcome is Outcome.USED
        ]
        if used:
            self._fruitless = 0
            self._optimizer, self.parameters = self._rule.apply(
                self._optimizer, self.parameters, order, used, self.weights
            )
        else:
            self._fruitless += 1
        step = self._step
        self._step += 1
        self._recent = [*self._recent[1 - AVERAGED :], self.parameters]
        loss, average_loss, quality = self._evaluated(order.round_number)
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
            average_loss=average_loss,
            quality=quality,
            update_norm=mean_norm([report for report, _ in used]),
        )
        self._decision = None
        self._judge(order.round_number, loss)
        self._standing = self._stands()

    def charge(self, reports: Sequence[Report]) -> None:
        """Add to the last round what clients that were still at work had used when the federation ended."""
        if reports:
            self.ledger.charge(reports)
        self.carried, self.pending_j = {}, 0.0
        self._standing = self._stands()

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
        if start == "here":
            return
        self._recent = []
        self._optimizer = initial_state(self._rule.optimizer, len(self._initial))
        if start == "beginning":
            self.parameters, self._step = self._initial, 0
        else:
            self.parameters, self._step = self._best, self._best_step

    def _evaluated(self, number: int) -> tuple[float, float, float]:
        """Loss, loss of the average of recent models, and quality after this round; NaN if not due."""
        every = self.settings.evaluate_every
        if not every or (number + 1) % every:
            return math.nan, math.nan, math.nan
        loss = self._loss(self.parameters)
        if loss < self._best_loss:
            self._best, self._best_loss, self._best_step = self.parameters, loss, self._step
        average: Parameters = np.stack(self._recent).mean(axis=0)
        return loss, self._loss(average), self.learner.quality(self.parameters)

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
        elif overdrawn := self._overdrawn():
            self.ended = Ended("budget", f"round {number} went over the {overdrawn} allowed")
        elif self._fruitless >= FRUITLESS_ROUNDS:
            self.ended = Ended(
                "no reports",
                f"no client reported anything usable in {FRUITLESS_ROUNDS} rounds: see the ledger's notes",
            )

    def _overdrawn(self) -> str:
        """The budget that was spent and more, in words; empty if there is none."""
        most_s, most_j = self.settings.max_duration_s, self.settings.max_energy_j
        if most_s is not None and self.ledger.duration_s > most_s:
            return f"{most_s:g} s"
        if most_j is not None and self.ledger.energy_j + self.pending_j > most_j:
            return f"{most_j:g} J"
        return ""

    def _stands(self) -> _Standing:
        """How it stands now; arrays are replaced, never written to, so that this is cheap."""
        return _Standing(
            {
                "parameters": self.parameters,
                "best": self._best,
                "rounds": self.ledger.rounds,
                "clients": self.ledger.clients,
                **self._optimizer,
                **{f"{_CARRIED}{name}": array for name, array in self.carried.items()},
            },
            tuple(self._recent),
            {
                "best_loss": self._best_loss,
                "best_step": self._best_step,
                "step": self._step,
                "fruitless": self._fruitless,
                "ended": vars(self.ended) if self.ended else None,
            },
        )

    def save(self, folder: Path) -> None:
        """Write everything a restarted server needs, as of the last whole round; whole or not at all.

        May be called after an interruption in the middle of a round.
        """
        standing = self._standing
        rounds = len(standing.arrays["rounds"])
        rest = standing.rest | {
            "settings": self.settings.model_dump(mode="json"),
            "initial_loss": self.initial_loss,
            "notes": [
                [*place, note] for place, note in self.ledger.notes.items() if place[0] < rounds
            ],
        }
        recent = np.array(standing.recent, dtype=np.float32).reshape(-1, len(self.parameters))
        buffer = io.BytesIO()
        np.savez(buffer, rest=np.array(json.dumps(rest)), recent=recent, **standing.arrays)  # type: ignore[arg-type]
        write_atomically(folder / SAVED, buffer.getvalue())

    def restore(self, folder: Path) -> None:
        """Go on where a server with the same settings had saved.

        Raises:
            DataError: The file cannot be read, or was saved with other settings.
        """
        path = folder / SAVED
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                rest = json.loads(str(stored["rest"]))
                arrays = {name: stored[name] for name in _ARRAYS}
                optimizer = restored_state(self._rule.optimizer, len(self._initial), stored)
                carried = {
                    name.removeprefix(_CARRIED): stored[name]
                    for name in stored.files
                    if name.startswith(_CARRIED)
                }
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} cannot be read ({error}): start the federation anew") from None
        if rest["settings"] != self.settings.model_dump(mode="json"):
            raise DataError(f"{path} was saved with other settings: start the federation anew")
        if arrays["rounds"].dtype != ROUND or arrays["clients"].dtype != CLIENT:
            raise DataError(f"{path} was saved by another version: start the federation anew")
        if arrays["parameters"].shape != self._initial.shape:
            raise DataError(f"{path} holds another model: start the federation anew")
        self.parameters, self._best = arrays["parameters"], arrays["best"]
        self._recent = list(arrays["recent"])
        self._optimizer, self.carried = optimizer, carried
        notes = {(int(a), int(b)): str(note) for a, b, note in rest["notes"]}
        self.ledger = Ledger.of(arrays["rounds"], arrays["clients"], notes)
        self.initial_loss, self._best_loss = rest["initial_loss"], rest["best_loss"]
        self._best_step, self._step = rest["best_step"], rest["step"]
        self._fruitless = rest["fruitless"]
        self.ended = Ended(**rest["ended"]) if rest["ended"] else None
        self._standing = self._stands()


def sampled_clients(
    settings: FederatedSettings,
    weights: Floats,
    number: int,
    wanted: int,
    available: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The clients to ask in a round, and how often each was drawn; the seed alone decides.

    Args:
        settings: Seed, sampling and over-selection.
        weights: p_k, shape (N,).
        number: Of the round.
        wanted: K.
        available: Who can be asked; all if None.
    """
    pool = np.arange(len(weights)) if available is None else available
    generator = keyed(settings.seed, "clients", number)
    asked = math.ceil(wanted * settings.over_selection - 1e-9)
    if settings.sampling == "weighted":
        shares = weights[pool] / weights[pool].sum()
        drawn = generator.choice(pool, size=asked, replace=True, p=shares)
        clients, draws = np.unique(drawn, return_counts=True)
        return clients.astype(np.int64), draws.astype(np.int64)
    clients = np.sort(generator.choice(pool, size=min(asked, len(pool)), replace=False))
    return clients.astype(np.int64), np.ones(len(clients), dtype=np.int64)

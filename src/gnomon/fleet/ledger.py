"""The ledger of a federation: what each round and each client in it took, in seconds and joules.

Rows of structured arrays that grow by doubling: a round costs microseconds, and a controller sees the history
as arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.fleet.orders import Outcome, Report

ROUND = np.dtype(
    [
        ("round", np.int64),
        ("phase", "U8"),
        ("start", "U9"),
        ("step", np.int64),  # rounds of this course of training before this one
        ("clients_per_round", np.int64),
        ("local_iterations", np.int64),
        ("learning_rate", np.float64),
        ("asked", np.int64),
        ("used", np.int64),
        ("started_s", np.float64),
        ("duration_s", np.float64),
        ("energy_j", np.float64),
        ("loss", np.float64),  # after the round; NaN if it was not evaluated
        ("average_loss", np.float64),  # of the average of the last `server.AVERAGED` models
        ("quality", np.float64),
        ("update_norm", np.float64),  # mean L2 norm of the updates used; NaN if there were none
    ]
)

CLIENT = np.dtype(
    [
        ("round", np.int64),
        ("client", np.int64),
        ("outcome", "U8"),
        ("draws", np.int64),
        ("samples", np.int64),
        ("loss", np.float64),
        ("duration_s", np.float64),
        ("compute_s", np.float64),
        ("energy_j", np.float64),
        ("compute_j", np.float64),
        ("staleness", np.int64),  # rounds between the one it began in and this one
    ]
)

Rows = NDArray[np.void]


class _Growing:
    """A structured array that rows are appended to."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._rows: Rows = np.zeros(64, dtype=dtype)
        self._count = 0

    @classmethod
    def of(cls, rows: Rows) -> _Growing:
        growing = cls(rows.dtype)
        growing.append(rows)
        return growing

    @property
    def rows(self) -> Rows:
        return self._rows[: self._count]

    def append(self, rows: Sequence[tuple[Any, ...]] | Rows) -> None:
        end = self._count + len(rows)
        while end > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._count : end] = rows
        self._count = end


class Ledger:
    """Rounds and clients of a federation, in order.

    Attributes:
        notes: By (round, client): words about a client that was dropped, late or rejected.
    """

    def __init__(self) -> None:
        self._rounds = _Growing(ROUND)
        self._clients = _Growing(CLIENT)
        self.notes: dict[tuple[int, int], str] = {}

    @property
    def rounds(self) -> Rows:
        """One row a round; see `ROUND`."""
        return self._rounds.rows

    @property
    def clients(self) -> Rows:
        """One row for each client asked in each round; see `CLIENT`."""
        return self._clients.rows

    @property
    def duration_s(self) -> float:
        """All rounds so far."""
        rows = self.rounds
        return float(rows["started_s"][-1] + rows["duration_s"][-1]) if len(rows) else 0.0

    @property
    def energy_j(self) -> float:
        """All rounds so far, clients that brought nothing included."""
        return float(self.rounds["energy_j"].sum())

    def cost(self, gamma: float) -> float:
        """(1 - gamma) dollars a second, gamma dollars a joule."""
        return (1 - gamma) * self.duration_s + gamma * self.energy_j

    def add(self, reports: Sequence[Report], draws: Sequence[int], **of_round: Any) -> None:
        """One round and its clients; `of_round`: the fields of `ROUND` that do not follow from reports."""
        number = of_round["round"]
        derived = {
            "asked": len(reports),
            "used": sum(report.outcome is Outcome.USED for report in reports),
            "started_s": self.duration_s,
            "energy_j": sum(report.energy_j for report in reports),
        }
        whole = of_round | derived
        self._rounds.append([tuple(whole[name] for name in ROUND.names or ())])
        self._add_clients(number, reports, draws)

    def charge(self, reports: Sequence[Report]) -> None:
        """Add clients to the last round, with what they used: those still at work when it was over."""
        self._rounds = _Growing.of(self.rounds.copy())  # rows seen before do not change
        last = self.rounds[-1:]
        last["asked"] += len(reports)
        last["energy_j"] += sum(report.energy_j for report in reports)
        self._add_clients(int(last["round"][0]), reports, [1] * len(reports))

    def _add_clients(self, number: int, reports: Sequence[Report], draws: Sequence[int]) -> None:
        self._clients.append(
            [
                (
                    number,
                    report.client,
                    report.outcome.value,
                    drawn,
                    report.samples,
                    report.loss,
                    report.duration_s,
                    report.compute_s,
                    report.energy_j,
                    report.compute_j,
                    report.staleness,
                )
                for report, drawn in zip(reports, draws, strict=True)
            ]
        )
        for report in reports:
            if report.note:
                self.notes[number, report.client] = report.note

    @classmethod
    def of(cls, rounds: Rows, clients: Rows, notes: dict[tuple[int, int], str]) -> Ledger:
        """A ledger of rows that were saved."""
        ledger = cls()
        ledger._rounds.append(rounds)
        ledger._clients.append(clients)
        ledger.notes = dict(notes)
        return ledger

    def disagreements(self) -> list[str]:
        """Where the ledger does not add up, in words; empty if it does.

        Rounds follow one another without gap; a round's energy is its clients'; as many reports were used as
        its row says; and from the start of the round in which a client began to the end of the one in which
        its report was used there was time for its work. Unless rounds are asynchronous the two are one, which
        is thus at least as long as its slowest client.
        """
        rounds, clients = self.rounds, self.clients
        found = []
        numbers = rounds["round"]
        if not np.array_equal(numbers, np.arange(len(rounds))):
            found.append("rounds are not numbered 0, 1, 2 ...")
            return found
        place = clients["round"]
        if len(place) and (place.min() < 0 or place.max() >= len(rounds)):
            return ["clients are listed for rounds that are not in the ledger"]
        ends = np.cumsum(rounds["duration_s"])
        starts = np.concatenate([[0.0], ends[:-1]])[: len(rounds)]
        began = place - clients["staleness"]
        if len(began) and (began.min() < 0 or (began > place).any()):
            return ["clients began in rounds that are not in the ledger, or after they reported"]
        used = clients["outcome"] == Outcome.USED.value
        hurried = np.zeros(len(rounds), dtype=bool)
        had_s = rounds["duration_s"][place] + (starts[place] - starts[began])
        short = had_s < clients["duration_s"] * (1 - 1e-9) - 1e-12 * ends[place]
        hurried[place[used & short]] = True
        energy = np.bincount(place, weights=clients["energy_j"], minlength=len(rounds))
        count = np.bincount(place[used], minlength=len(rounds))
        asked = np.bincount(place, minlength=len(rounds))
        gap = ~np.isclose(rounds["started_s"], starts, rtol=1e-9, atol=1e-9)
        other_energy = ~np.isclose(rounds["energy_j"], energy, rtol=1e-9, atol=1e-12)
        for wrong, words in (
            (gap, "does not start where the last one ended"),
            (other_energy, "has other energy than its clients"),
            (hurried, "is shorter than its slowest client"),
            (rounds["used"] != count, "counts other reports than its clients gave"),
            (rounds["asked"] != asked, "counts other clients than are listed"),
        ):
            if wrong.any():
                found.append(f"round {int(np.argmax(wrong))} {words}")
        return found

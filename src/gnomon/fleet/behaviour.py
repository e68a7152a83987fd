"""How simulated clients misbehave: away at times, dropping out mid-round, slower than usual.

What is drawn is keyed by seed, round and client, so that no client's fate depends on another's; when a client
is there may also come from a trace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, InstanceOf

from gnomon.core.errors import SettingsError
from gnomon.fleet.availability import AvailabilityTrace
from gnomon.fleet.devices import Floats
from gnomon.fleet.orders import Order
from gnomon.fleet.randomness import keyed


@dataclass(frozen=True)
class Fates:
    """What happens to the clients of one order; every array has shape (K',).

    Attributes:
        slowdown: How much longer than usual each takes.
        dropped_after: The share of its work after which each drops out; infinite for those that do not.
    """

    slowdown: Floats
    dropped_after: Floats


@dataclass(frozen=True)
class Behaviour:
    """A fleet's faults.

    Attributes:
        availability: Share of the time a client can be asked.
        availability_block_s: A client is there, or away, for whole blocks of this length; blocks of different
            clients start at different times.
        dropout: Chance that a client drops out of a round it takes part in.
        slowdown_sigma: Sigma of a log-normal factor, with mean 1, on each client's time in each round.
        trace: When each client is there, besides `availability`; one whose time ends before its work is done
            drops out. It is too large to travel with plain values and stays out of JSON.
    """

    availability: float = 1.0
    availability_block_s: float = 3600.0
    dropout: float = 0.0
    slowdown_sigma: float = 0.0
    trace: Annotated[InstanceOf[AvailabilityTrace] | None, Field(exclude=True)] = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("availability", 0.0, 1.0),
            ("dropout", 0.0, 1.0),
            ("slowdown_sigma", 0.0, 3.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"{name} must be from {low:g} to {high:g}, got {value}")
        if self.availability == 0:
            raise SettingsError("availability must be above 0: nobody would ever come")
        if not (math.isfinite(self.availability_block_s) and self.availability_block_s > 0):
            raise SettingsError(
                f"availability_block_s must be positive, got {self.availability_block_s}"
            )

    def available(self, clients: int, now_s: float, seed: int) -> NDArray[np.int64] | None:
        """Who can be asked at this time; None if everybody always can."""
        traced = self._trace_of(clients)
        drawn = None if self.availability == 1 else self._drawn(clients, now_s, seed)
        if traced is None:
            return None if drawn is None else np.flatnonzero(drawn)
        there = traced.there(now_s)
        return np.flatnonzero(there if drawn is None else there & drawn)

    def _drawn(self, clients: int, now_s: float, seed: int) -> NDArray[np.bool_]:
        """Whose block of time is one in which it is there, shape (N,)."""
        offsets = keyed(seed, "availability offsets").random(clients)
        blocks = np.floor(now_s / self.availability_block_s + offsets).astype(np.int64)
        there = np.zeros(clients, dtype=bool)
        for block in np.unique(blocks):  # at most two
            chances = keyed(seed, "availability", int(block)).random(clients)
            there |= (blocks == block) & (chances < self.availability)
        return there

    def next_change_s(self, clients: int, now_s: float, seed: int) -> float:
        """When the next client comes or goes."""
        traced = self._trace_of(clients)
        by_trace_s = math.inf if traced is None else traced.next_change_s(now_s)
        if traced is not None and self.availability == 1:
            return by_trace_s
        offsets = keyed(seed, "availability offsets").random(clients)
        position = now_s / self.availability_block_s + offsets
        to_go = np.floor(position) + 1 - position
        drawn_s = now_s + float(to_go.min()) * self.availability_block_s * (1 + 1e-9) + 1e-9
        return min(by_trace_s, drawn_s)

    def stays_s(self, clients: NDArray[np.int64], now_s: float) -> Floats:
        """How long each of these clients stays from now on, by the trace; infinite without one."""
        if self.trace is None:
            return np.full(len(clients), np.inf)
        return self.trace.stays_s(clients, now_s)

    def fates(self, order: Order, seed: int) -> Fates:
        """What happens to each client of this order; a client's fate does not depend on the others."""
        count = len(order.clients)
        slowdown, dropped_after = np.ones(count), np.full(count, np.inf)
        if self.dropout or self.slowdown_sigma:
            for place, client in enumerate(order.clients):
                generator = keyed(seed, "fate", order.round_number, int(client))
                chance, share, normal = generator.random(), generator.random(), generator.normal()
                if chance < self.dropout:
                    dropped_after[place] = share
                sigma = self.slowdown_sigma
                slowdown[place] = math.exp(sigma * normal - sigma**2 / 2)
        return Fates(slowdown, dropped_after)

    def _trace_of(self, clients: int) -> AvailabilityTrace | None:
        if self.trace is not None and len(self.trace) != clients:
            raise SettingsError(
                f"the availability trace is of {len(self.trace)} clients, the federation has {clients}: "
                f"read it for {clients}"
            )
        return self.trace

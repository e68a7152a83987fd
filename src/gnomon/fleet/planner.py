"""From a fleet to advice: K and E for each weight of joules, and how far the choice depends on A0/B0.

`gnomon federated plan` prints it. A0/B0 is seldom known before training; what is known is that the cost of a
choice is linear in it, so that the range in which each choice is the best is found exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gnomon.core.errors import SettingsError
from gnomon.fleet.cost import (
    Problem,
    Uniform,
    Weighted,
    round_duration_s,
    round_energy_j,
    surface,
    total_cost,
)
from gnomon.fleet.devices import Devices, Floats
from gnomon.fleet.rounds import Bound
from gnomon.fleet.solve import Method, Plan, solve

DEFAULT_RATIOS = (10.0, 1000.0)
UNSURE_BY = 10.0
ROUND_OFF = 1e-12

EXAMPLE = """\
# What each device costs, one a line: seconds and joules of one local iteration (one batch), and of one
# exchange of the model (download and upload). Measure yours; these are made up. `samples` is only needed
# for --weighted. Try: gnomon federated plan THIS_FILE --gamma 0.5
name,compute_s,communication_s,compute_j,communication_j,samples
pi-1,0.11,1.9,0.42,2.4,310
pi-2,0.10,2.1,0.40,2.6,280
pi-3,0.13,2.8,0.47,3.1,300
phone-1,0.05,0.9,0.15,1.1,650
phone-2,0.08,1.6,0.21,1.9,540
laptop-1,0.02,0.6,0.35,1.3,1200
"""


@dataclass(frozen=True)
class Constants:
    """What is known of the bound: its constants, or only a range of A0/B0.

    Attributes:
        bound: Constants to plan for; of those with epsilon unknown, only A0/B0 matters.
        ratios: Range of A0/B0 to look at; None if there is none to look at.
        absolute: A0, B0 and epsilon are all known, so that rounds, seconds and joules mean what they say.
    """

    bound: Bound
    ratios: tuple[float, float] | None
    absolute: bool


@dataclass(frozen=True)
class Choice:
    """A plan for one weight of joules; what reaching the target takes is relative where epsilon is unknown.

    Attributes:
        gamma: Dollars a joule; a second is 1 - gamma.
        method: `exact` or `alternating`.
        clients_per_round: K.
        local_iterations: E.
        round_duration_s: Expected seconds of a round.
        round_energy_j: Expected joules of a round.
        rounds: To the target.
        duration_s: To the target.
        energy_j: To the target.
        cost: Dollars.
        excess: Cost beyond that of the exact method's plan, as a share of it.
    """

    gamma: float
    method: Method
    clients_per_round: int
    local_iterations: int
    round_duration_s: float
    round_energy_j: float
    rounds: float
    duration_s: float
    energy_j: float
    cost: float
    excess: float


@dataclass(frozen=True)
class Stretch:
    """A range of A0/B0 with its best K and E; after `merged`, the least and greatest of each in it."""

    low: float
    high: float
    clients_per_round: tuple[int, int]
    local_iterations: tuple[int, int]


@dataclass(frozen=True)
class Outlook:
    """How the exact plan moves with A0/B0.

    Attributes:
        gamma: Dollars a joule.
        stretches: Ranges of A0/B0, end to end, each with another best K and E.
        regret: Most that the plan made for the given A0/B0 costs beyond the best anywhere in the range, as a
            share of the best.
        regret_at: The A0/B0 at which it does.
    """

    gamma: float
    stretches: tuple[Stretch, ...]
    regret: float
    regret_at: float


@dataclass(frozen=True)
class Advice:
    """Plans for a fleet.

    Attributes:
        source: Where the devices' costs come from.
        clients: N.
        ratio: The A0/B0 that the choices are made for.
        ratios: The range that the outlooks cover; None if there are none.
        absolute: Totals are rounds, seconds, joules and dollars; if not, shares of those at K = N, E = 1.
        choices: One for each gamma and method.
        outlooks: One for each gamma.
    """

    source: str
    clients: int
    ratio: float
    ratios: tuple[float, float] | None
    absolute: bool
    choices: tuple[Choice, ...]
    outlooks: tuple[Outlook, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values; an infinite ratio (B0 = 0) is null."""
        told = asdict(self)
        told["ratio"] = self.ratio if math.isfinite(self.ratio) else None
        told["relative_to"] = (
            None if self.absolute else {"clients_per_round": self.clients, "local_iterations": 1}
        )
        return told


def constants_of(
    a0: float | None = None,
    b0: float | None = None,
    epsilon: float | None = None,
    ratio: str | None = None,
    *,
    with_replacement: bool = False,
) -> Constants:
    """What a person gives of A0, B0, epsilon and a range of A0/B0, as `LOW:HIGH` or one number.

    Without A0 and B0 the plan is for the geometric middle of the range; with them the range is a factor of
    ten on either side, unless it is given.

    Raises:
        SettingsError: One of A0 and B0 without the other, epsilon without both, or a range that is none.
    """
    if (a0 is None) != (b0 is None):
        raise SettingsError(
            f"{'b0' if b0 is None else 'a0'} is missing: give a0 and b0 both, or only their ratio"
        )
    if epsilon is not None and a0 is None:
        raise SettingsError("epsilon means nothing without a0 and b0: give all three, or none")
    ratios = None if ratio is None else _range(ratio)
    if a0 is not None and b0 is not None:
        bound = Bound(a0, b0, 1.0 if epsilon is None else epsilon, with_replacement)
        if ratios is None and a0 > 0 and b0 > 0:
            ratios = (a0 / b0 / UNSURE_BY, a0 / b0 * UNSURE_BY)
        return Constants(bound, ratios, absolute=epsilon is not None)
    ratios = ratios or DEFAULT_RATIOS
    middle = math.sqrt(ratios[0]) * math.sqrt(ratios[1])
    return Constants(Bound(middle, 1.0, with_replacement=with_replacement), ratios, absolute=False)


def advise(
    devices: Devices,
    gammas: Sequence[float],
    constants: Constants,
    *,
    methods: Sequence[Method] = ("exact",),
    max_local_iterations: int = 200,
    sampling: Uniform | Weighted | None = None,
    max_duration_s: float | None = None,
    max_energy_j: float | None = None,
) -> Advice:
    """Plans for each gamma and method, and how those of the exact method move with A0/B0.

    With limits on seconds or joules there is no outlook: which choices keep to them depends on A0 and B0
    themselves.

    Raises:
        SettingsError: A number is out of range, nothing keeps to the limits, or there are limits while
            epsilon is unknown.
        UsageError: The alternating method with limits or weighted sampling.
    """
    limited = max_duration_s is not None or max_energy_j is not None
    if limited and not constants.absolute:
        raise SettingsError(
            "a limit on seconds or joules needs a0, b0 and epsilon: without them totals are relative"
        )
    bound = constants.bound
    chosen_sampling = Uniform() if sampling is None else sampling
    choices: list[Choice] = []
    outlooks: list[Outlook] = []
    lines = None
    if constants.ratios is not None and not limited:
        lines = _Lines(devices, max_local_iterations, chosen_sampling, bound)
    for gamma in gammas:
        problem = Problem(
            devices,
            gamma,
            bound,
            max_local_iterations,
            chosen_sampling,
            max_duration_s,
            max_energy_j,
        )
        best = solve(problem)
        plans = [best if method == "exact" else solve(problem, method) for method in methods]
        choices += [_choice(problem, plan, best, absolute=constants.absolute) for plan in plans]
        if lines is not None and constants.ratios is not None:
            outlooks.append(lines.outlook(gamma, best, *constants.ratios))
    ratio = bound.a0 / bound.b0 if bound.b0 else math.inf
    return Advice(
        devices.source,
        len(devices),
        ratio,
        None if lines is None else constants.ratios,
        constants.absolute,
        tuple(choices),
        tuple(outlooks),
    )


def merged(stretches: Sequence[Stretch], most: int) -> tuple[Stretch, ...]:
    """At most so many stretches: the narrowest neighbours, by the ratio of their ends, become one."""
    rows = list(stretches)
    while len(rows) > most:
        spans = [later.high / row.low for row, later in itertools.pairwise(rows)]
        place = spans.index(min(spans))
        one, other = rows[place : place + 2]
        rows[place : place + 2] = [
            Stretch(
                one.low,
                other.high,
                _spanned(one.clients_per_round, other.clients_per_round),
                _spanned(one.local_iterations, other.local_iterations),
            )
        ]
    return tuple(rows)


class _Lines:
    """The cost of every K and E as a line in x = A0/B0: `(x / E + g(K) E)` times the dollars of a round."""

    def __init__(
        self,
        devices: Devices,
        max_local_iterations: int,
        sampling: Uniform | Weighted,
        bound: Bound,
    ) -> None:
        self.iterations = np.arange(1, max_local_iterations + 1)
        self.counts = np.arange(1, len(devices) + 1)
        self.duration_s = round_duration_s(devices, self.iterations, None, sampling)
        self.energy_j = round_energy_j(devices, self.iterations, None, sampling)
        drift = Bound(0.0, 1.0, with_replacement=bound.with_replacement)
        self.growth = drift.rounds(self.iterations[:, None], self.counts[None, :], len(devices))

    def outlook(self, gamma: float, kept: Plan, low: float, high: float) -> Outlook:
        """The lower envelope of the lines from x = low to high, and the kept plan's line above it."""
        dollars = total_cost(self.duration_s, self.energy_j, gamma)
        slopes = (dollars / self.iterations[:, None]).ravel()
        offsets = (dollars * self.growth).ravel()
        pieces = _envelope(slopes, offsets, low, high)
        own = (kept.local_iterations - 1) * len(self.counts) + kept.clients_per_round - 1
        # A ratio of two lines is monotone between the ends of a stretch.
        regrets = [
            (_ratio(slopes[own] * x + offsets[own], slopes[line] * x + offsets[line]) - 1, x)
            for start, stop, line in pieces
            for x in (start, stop)
        ]
        regret, regret_at = max(regrets)
        stretches = []
        for start, stop, line in pieces:
            row, column = divmod(line, len(self.counts))
            count, iterations = int(self.counts[column]), int(self.iterations[row])
            stretches.append(Stretch(start, stop, (count, count), (iterations, iterations)))
        return Outlook(gamma, tuple(stretches), max(0.0, float(regret)), regret_at)


def _envelope(
    slopes: Floats, offsets: Floats, low: float, high: float
) -> list[tuple[float, float, int]]:
    """The lowest lines from x = low to high: (from, to, which), end to end.

    Where two lines that are lowest at either end cross, either nothing is lower, or what is splits the range.
    """

    def lowest(x: float) -> int:
        return int(np.argmin(slopes * x + offsets))

    pieces: list[tuple[float, float, int]] = []
    waiting = [(low, high, lowest(low), lowest(high))]
    while waiting:
        start, stop, first, last = waiting.pop()
        if first == last or slopes[first] <= slopes[last]:  # equal but for round-off
            pieces.append((start, stop, first))
            continue
        crossing = float((offsets[last] - offsets[first]) / (slopes[first] - slopes[last]))
        crossing = min(max(crossing, start), stop)
        between = lowest(crossing)
        least = slopes[between] * crossing + offsets[between]
        if least >= (slopes[first] * crossing + offsets[first]) * (1 - ROUND_OFF):
            pieces += [(start, crossing, first), (crossing, stop, last)]
        else:
            waiting += [(crossing, stop, between, last), (start, crossing, first, between)]
    joined: list[tuple[float, float, int]] = []
    for start, stop, line in pieces:
        if joined and joined[-1][2] == line:
            joined[-1] = (joined[-1][0], stop, line)
        elif stop > start or low == high:
            joined.append((start, stop, line))
    return joined


def _choice(problem: Problem, plan: Plan, best: Plan, *, absolute: bool) -> Choice:
    unit = (1.0, 1.0, 1.0, 1.0)
    if not absolute:
        at = surface(problem, np.array([1]), np.array([problem.clients]))
        parts = (at.rounds, at.duration_s, at.energy_j, at.cost)
        unit = tuple(float(part[0, 0]) for part in parts)  # type: ignore[assignment]
    return Choice(
        problem.gamma,
        plan.method,
        plan.clients_per_round,
        plan.local_iterations,
        plan.duration_s / plan.rounds,
        plan.energy_j / plan.rounds,
        _ratio(plan.rounds, unit[0]),
        _ratio(plan.duration_s, unit[1]),
        _ratio(plan.energy_j, unit[2]),
        _ratio(plan.cost, unit[3]),
        _ratio(plan.cost, best.cost) - 1,
    )


def _ratio(value: float, other: float) -> float:
    """Of two costs, either of which may be nothing at all."""
    if other == 0:
        return 1.0 if value == 0 else math.inf
    return float(value / other)


def _range(text: str) -> tuple[float, float]:
    """`10:1000` or `100`."""
    try:
        ends = [float(word) for word in text.split(":")]
    except ValueError:
        ends = []
    if len(ends) == 1:
        ends *= 2
    if len(ends) != 2 or not all(math.isfinite(end) and end > 0 for end in ends):
        raise SettingsError(f"ratio takes two positive numbers as 10:1000, or one, got {text!r}")
    if ends[0] > ends[1]:
        raise SettingsError(f"ratio starts above its end, got {text!r}: swap them")
    return ends[0], ends[1]


def _spanned(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return min(one[0], other[0]), max(one[1], other[1])

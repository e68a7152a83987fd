"""Find the highest Server rate that is VALID: bracket it, halve the bracket, confirm at full length.

No rate has to be guessed: a short untimed trial gives a first one. Every probe is a real Server test,
recorded like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gnomon.core.errors import SystemFault

WIDEN = 2.0
PATIENCE = 4
"""After so many failures in a row, steps downwards get longer."""
PRECISION = 0.02
"""Stop when the bracket is this narrow, as a share of its lower end."""
MOST_PROBES = 30
MOST_CONFIRMATIONS = 5
STEP_DOWN = 0.97
LEAST_QPS = 0.1


@dataclass(frozen=True)
class Probe:
    """One Server test of the search.

    Attributes:
        target_qps: The rate tried.
        valid: Whether the test was VALID at it.
        percentile_latency_ns: Latency at the judged percentile; None if nothing was answered.
        completed_qps: The rate at which queries were completed.
        measurement: The name of its folder in the run.
        confirmation: Whether it ran for the full duration.
    """

    target_qps: float
    valid: bool
    percentile_latency_ns: int | None
    completed_qps: float | None
    measurement: str
    confirmation: bool = False


def find_peak(
    start_qps: float, probe: Callable[[float, bool], Probe], precision: float = PRECISION
) -> tuple[Probe, tuple[Probe, ...]]:
    """Search for the peak.

    Args:
        start_qps: Where to begin; any positive rate works, a near one is quicker.
        probe: Runs one Server test at a rate; with True, for the full duration.
        precision: Width of the last bracket as a share of its lower end.

    Returns:
        The confirming test at the peak (not valid if none was found), and every probe in order.

    Raises:
        SystemFault: No rate down to `LEAST_QPS` is valid.
    """
    probes: list[Probe] = []

    def valid_at(qps: float) -> bool:
        probes.append(probe(_rounded(qps), False))
        return probes[-1].valid

    low = high = start_qps
    if valid_at(start_qps):
        while len(probes) < MOST_PROBES:
            high = low * WIDEN
            if not valid_at(high):
                break
            low = high
    else:
        step = WIDEN
        while True:
            low = max(high / step, LEAST_QPS)
            if high <= LEAST_QPS or len(probes) >= MOST_PROBES:
                raise SystemFault(no_valid_rate(high))
            if valid_at(low):
                break
            high = low
            if len(probes) % PATIENCE == 0:
                step *= WIDEN  # a start that is far too high
    while high / low > 1 + precision and len(probes) < MOST_PROBES:
        middle = (low * high) ** 0.5
        if valid_at(middle):
            low = middle
        else:
            high = middle

    rate = low
    for _ in range(MOST_CONFIRMATIONS):
        confirmed = probe(_rounded(rate), True)
        probes.append(confirmed)
        if confirmed.valid:
            break
        rate *= STEP_DOWN
    return confirmed, tuple(probes)


def no_valid_rate(lowest_qps: float) -> str:
    """What a search that found nothing has to say."""
    return (
        f"no valid Server rate found down to {lowest_qps:.3g} queries/s: the latency bound cannot be "
        f"met; raise --target-latency or use a faster system"
    )


def probe_name(number: int) -> str:
    """The name under which a step of the search is measured; 0 is the trial before it."""
    return f"server-probe-{number:02d}"


def is_probe(name: str) -> bool:
    """Whether a measurement of this name is a step of a search, which is not judged."""
    return name.startswith("server-probe-")


def _rounded(qps: float) -> float:
    """Four significant digits: a rate a person can repeat."""
    return float(f"{qps:.4g}")

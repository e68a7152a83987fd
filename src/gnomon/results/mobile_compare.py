"""Two devices side by side: the figures of each task that both measured, and what may be claimed.

Takes rows of the history; where both have raw samples, claims come from `compare.py`, else a ratio
stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.core.errors import GnomonError, UsageError
from gnomon.core.run import Run
from gnomon.loadgen.judge import ACCURACY
from gnomon.loadgen.settings import Scenario
from gnomon.results.claims import Row
from gnomon.results.compare import compare
from gnomon.results.mobile_history import History
from gnomon.results.mobile_rows import CLAIMED, ResultRow


@dataclass(frozen=True)
class Figure:
    """One figure of a task on two devices.

    Attributes:
        name: `p90 latency`, `throughput`, or the quality's metric.
        unit: Of the values; `ns` for latencies, empty for a share.
        first: Of the first device; None if it has none.
        second: Of the second.
        higher_is_better: The direction.
        ratio: Second over first.
        interval: 95 % interval in words; empty where there is none.
        conclusion: What may be said of the second against the first.
        why: What stands in the way of a claim; empty if nothing does.
    """

    name: str
    unit: str
    first: float | None
    second: float | None
    higher_is_better: bool
    ratio: float | None
    interval: str
    conclusion: str
    why: str


@dataclass(frozen=True)
class Pair:
    """A task in a scenario on two devices; a side is None if it was not measured there.

    `notes` say how far the conclusions may be trusted, as `gnomon compare` words it of the same two runs.
    """

    title: str
    scenario: str
    first: ResultRow | None
    second: ResultRow | None
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()

    @property
    def concluded(self) -> bool:
        """Whether something is said of the second against the first."""
        return any(figure.conclusion for figure in self.figures)


@dataclass(frozen=True)
class _Claims:
    """Rows of `compare` by measurement and metric, and its notes; or why there are none."""

    rows: dict[tuple[str, str], Row] | str
    notes: tuple[str, ...] = ()


def newest(rows: Sequence[ResultRow]) -> dict[tuple[str, str], ResultRow]:
    """By benchmark and scenario: the last row that has ended."""
    found: dict[tuple[str, str], ResultRow] = {}
    for row in sorted(rows, key=lambda row: row.started_at):
        if row.verdict != "running":
            found[row.benchmark, row.scenario] = row
    return found


def side_of(history: History, name: str) -> list[ResultRow]:
    """The rows that a run, a session or a device stands for.

    Raises:
        UsageError: Nothing in the history has this name.
    """
    rows = history.of(name)
    if not rows:
        raise UsageError(f"nothing in the history is called {name[:80]!r}: choose from the results")
    return rows


def pairs(first: Sequence[ResultRow], second: Sequence[ResultRow], history: History) -> list[Pair]:
    """What two sides have measured, task by task; those of both first."""
    ours, theirs = newest(first), newest(second)
    places = dict.fromkeys((*ours, *theirs))
    claims: dict[tuple[str, str], _Claims] = {}
    found = []
    for place in places:
        one, other = ours.get(place), theirs.get(place)
        figures: tuple[Figure, ...] = ()
        notes: tuple[str, ...] = ()
        if one is not None and other is not None:
            runs = one.run, other.run
            if runs not in claims:
                claims[runs] = _claims(one, other, history)
            figures = tuple(_figures(one, other, claims[runs].rows))
            notes = claims[runs].notes
        title = next(row.title for row in (one, other) if row is not None)
        found.append(Pair(title, place[1], one, other, figures, notes))
    return sorted(found, key=lambda pair: not pair.figures)


def _claims(one: ResultRow, other: ResultRow, history: History) -> _Claims:
    if CLAIMED in (one.source, other.source):
        return _Claims("claimed: there are no raw samples to hold against each other")
    if one.run == other.run:
        return _Claims("the same run on both sides")
    folders = [history.run_folder(row.run) for row in (one, other)]
    try:
        comparison = compare([Run.open(folder) for folder in folders if folder is not None])
    except GnomonError as error:
        return _Claims(str(error))
    rows = {(row.measurement, row.metric.split()[0]): row for row in comparison.rows}
    return _Claims(rows, comparison.notes)


def _figures(
    one: ResultRow, other: ResultRow, claims: dict[tuple[str, str], Row] | str
) -> list[Figure]:
    offline = one.scenario == Scenario.OFFLINE.value
    rate = "samples/s" if offline else "queries/s"
    found = []
    if not offline and (one.p90_ns or other.p90_ns):
        key = one.scenario, "p90"
        found.append(_figure("p90 latency", "ns", one.p90_ns, other.p90_ns, claims, key))
    if one.throughput or other.throughput:
        values = one.throughput, other.throughput
        if offline:
            found.append(_figure("throughput", rate, *values, claims, (one.scenario, "throughput")))
        else:
            words = "follows from the latency: 1 / p90"
            found.append(_figure("throughput", rate, *values, words, ("", "")))
    if one.quality is not None or other.quality is not None:
        key = ACCURACY, one.metric.split()[0]
        found.append(_figure(one.metric, one.unit, one.quality, other.quality, claims, key))
    return found


def _figure(
    name: str,
    unit: str,
    first: float | None,
    second: float | None,
    claims: dict[tuple[str, str], Row] | str,
    key: tuple[str, str],
) -> Figure:
    ratio = second / first if first and second is not None else None
    row = None if isinstance(claims, str) else claims.get(key)
    interval, conclusion, why = "", "", claims if isinstance(claims, str) else "not compared"
    if row is not None:
        conclusion, why = row.conclusion, row.why
        if row.interval is not None:
            share = row.interval_of == "difference"
            low, high = row.interval.low, row.interval.high
            interval = (
                f"{100 * low:+.2f} to {100 * high:+.2f} points"
                if share
                else f"{low:.3f} to {high:.3f}"
            )
    return Figure(
        name=name,
        unit=unit,
        first=first,
        second=second,
        higher_is_better=unit != "ns",
        ratio=ratio,
        interval=interval,
        conclusion=conclusion,
        why=why,
    )

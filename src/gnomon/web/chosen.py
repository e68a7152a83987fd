"""Which two sides a comparison is of: results that were ticked, or two names of devices, sessions or runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.core.errors import UsageError
from gnomon.results.mobile_compare import side_of
from gnomon.results.mobile_history import History
from gnomon.results.mobile_rows import ResultRow

TICKED = "Compared are the two runs that the ticked results are of."
SESSIONS = (
    "The ticked results are of different tasks: compared are the two sessions that they belong to, task by "
    "task."
)


@dataclass(frozen=True)
class Chosen:
    """What a comparison is of.

    Attributes:
        first: Rows of side A.
        second: Rows of side B.
        words: What is compared, for the page; empty where the names say it.
        sessions: Of A and of B, where these have more than what is compared; else empty.
    """

    first: list[ResultRow]
    second: list[ResultRow]
    words: str = ""
    sessions: tuple[str, ...] = ()


def of_names(history: History, names: Sequence[str]) -> Chosen:
    """Two sides by name.

    Raises:
        UsageError: They are not two, or nothing has the name.
    """
    given = [name for name in names if name]
    if len(given) != 2:
        chosen = "1 is chosen" if len(given) == 1 else f"{len(given)} are chosen"
        raise UsageError(f"a comparison is of two results, {chosen}: tick two")
    first, second = (side_of(history, name) for name in given)
    return Chosen(first, second)


def of_ticks(history: History, ticks: Sequence[str]) -> Chosen:
    """The runs of two results of one task, or the sessions of two results that have no task in common.

    Args:
        history: Where they are.
        ticks: The run of each row that was ticked.

    Raises:
        UsageError: They are not two, are of one run, or cannot be held against each other.
    """
    if len(ticks) == 2 and ticks[0] == ticks[1]:
        raise UsageError("both ticked results are of one run: tick two of different runs")
    found = of_names(history, list(dict.fromkeys(ticks)))
    first, second = found.first, found.second
    sessions = first[0].session, second[0].session
    whole_first, whole_second = (side_of(history, session) for session in sessions)
    if {row.benchmark for row in first} & {row.benchmark for row in second}:
        more = len(whole_first) > len(first) or len(whole_second) > len(second)
        apart = sessions[0] != sessions[1]
        return Chosen(first, second, TICKED, sessions if more and apart else ())
    if sessions[0] == sessions[1]:
        raise UsageError(
            "the ticked results are two tasks of one session: tick two of one task, or of two sessions"
        )
    return Chosen(whole_first, whole_second, SESSIONS)

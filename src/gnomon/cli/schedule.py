"""`gnomon loadgen schedule`: print which samples a test issues, and when."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from gnomon.core.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gnomon.loadgen.settings import Settings

ROWS_AT_ONCE = 1 << 16
DEFAULT_SAMPLES_PER_QUERY = 8


def schedule(
    scenario: Annotated[str, typer.Option(help="single-stream, multi-stream, server or offline.")],
    total: Annotated[int, typer.Option(help="Samples in the data set.")],
    performance_count: Annotated[
        int | None, typer.Option(help="Samples loaded at once; default: all.")
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(
            help="Queries to print; Offline: samples of its one query. Accuracy mode prints all.",
            min=1,
        ),
    ] = None,
    target_qps: Annotated[
        float | None,
        typer.Option(help="Server: the arrival rate. Stream scenarios: constant gaps."),
    ] = None,
    samples_per_query: Annotated[
        int, typer.Option(help="MultiStream: samples in a query; elsewhere it is one.", min=1)
    ] = DEFAULT_SAMPLES_PER_QUERY,
    seeds: Annotated[
        str | None, typer.Option(help="QSL,SAMPLE_INDEX,SCHEDULE; default: the latest round's.")
    ] = None,
    mode: Annotated[str, typer.Option(help="performance or accuracy.")] = "performance",
    min_duration: Annotated[
        float, typer.Option(help="Server: at least so many seconds of arrivals.", min=0, max=1e9)
    ] = 0.0,
    concatenate_permutation: Annotated[bool, typer.Option("--concatenate-permutation")] = False,
    issue_unique: Annotated[bool, typer.Option("--issue-unique")] = False,
    issue_same: Annotated[bool, typer.Option("--issue-same")] = False,
    issue_same_index: Annotated[int, typer.Option(help="Into the loaded set.")] = 0,
    format: Annotated[str, typer.Option(help="csv or json.")] = "csv",  # noqa: A002
) -> None:
    """Print the schedule that these settings and seeds give.

    One line a sample: its query, when that is due in ns from the start (in accuracy mode: of its loaded
    set), and the sample's index. Equal to the reference load generator's, bit for bit.
    """
    from gnomon.loadgen.options import MOST_S, LoadOptions, scenario_named
    from gnomon.loadgen.settings import (
        LATEST_ROUND,
        NS_PER_S,
        ROUND_SEEDS,
        Mode,
        Scenario,
        Settings,
    )

    if format not in ("csv", "json"):
        raise UnknownNameError("format", format, ("csv", "json"))
    if mode not in tuple(Mode):
        raise UnknownNameError("mode", mode, [item.value for item in Mode])
    chosen = scenario_named(scenario)
    if queries is None and mode == Mode.PERFORMANCE and not issue_unique:
        raise SettingsError("performance mode needs --queries: how many to print")
    if chosen is Scenario.SERVER and target_qps is None:
        raise SettingsError("the server scenario needs --target-qps: its arrival rate")
    if not min_duration <= MOST_S:  # not a number
        raise SettingsError(f"--min-duration must be a number of seconds, got {min_duration:g}")
    settings = Settings(
        scenario=chosen,
        mode=Mode(mode),
        total_sample_count=total,
        performance_sample_count=total if performance_count is None else performance_count,
        target_qps=target_qps,
        samples_per_query=samples_per_query if chosen is Scenario.MULTI_STREAM else 1,
        min_duration_ns=round(min_duration * NS_PER_S),
        min_query_count=1 if queries is None else queries,
        seeds=LoadOptions(seeds=seeds).seeds or ROUND_SEEDS[LATEST_ROUND],  # type: ignore[arg-type]
        sample_concatenate_permutation=concatenate_permutation,
        performance_issue_unique=issue_unique,
        performance_issue_same=issue_same,
        performance_issue_same_index=issue_same_index,
    )
    try:
        _write(settings, format)
    except BrokenPipeError:  # a reader that has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(settings: Settings, form: str) -> None:
    """The rows on standard output, a block at a time."""
    out = sys.stdout
    out.write("query,arrival_ns,sample_index\n" if form == "csv" else "[")
    lead = ""
    for rows in _rows(settings):
        if form == "csv":
            out.write("".join(f"{q},{a},{s}\n" for q, a, s in rows.tolist()))
            continue
        listed = [
            json_module.dumps({"query": q, "arrival_ns": a, "sample_index": s})
            for q, a, s in rows.tolist()
        ]
        out.write(lead + ", ".join(listed))
        lead = ", "
    out.write("" if form == "csv" else "]\n")
    out.flush()


def _rows(settings: Settings) -> Iterator[NDArray[np.int64]]:
    """Blocks of rows (query, arrival in ns, sample index), shape (n, 3)."""
    import numpy as np

    from gnomon.loadgen.schedule import plan
    from gnomon.loadgen.settings import Mode, Scenario

    one_query = settings.scenario is Scenario.OFFLINE
    number = 0
    for order in plan(settings):
        width = order.samples_per_query
        count = order.query_count
        if count is None:
            count = settings.min_query_count
        for start in range(0, count, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, count)
            queries = (
                np.full(stop - start, number) if one_query else np.arange(start, stop) + number
            )
            yield np.stack(
                [
                    np.repeat(queries, width),
                    np.repeat(order.arrivals_ns(start, stop), width),
                    order.samples(start, stop).reshape(-1),
                ],
                axis=1,
            )
        number += 1 if one_query else count
        if settings.mode is Mode.PERFORMANCE:
            break

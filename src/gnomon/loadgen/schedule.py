"""Which samples are issued, and when: arrays made from the seeds, before or while the clock runs.

Equal settings give equal schedules, and the same as the reference load generator's, index for index and
nanosecond for nanosecond (its `GenerateLoadableSets` and `GenerateQueries`, mlcommons/inference, loadgen
6.0). A schedule that has to go on for longer than foreseen is drawn further, not drawn anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import IndexArray
from gnomon.loadgen.random import Engine
from gnomon.loadgen.settings import NS_PER_S, Mode, Scenario, Settings

OFFLINE_SLACK = 1.1
EQUAL_ISSUE_SLACK = 2.0
FEWEST_DRAWN = 1024

Rows = Callable[[int], NDArray[np.int64]]
"""Draws the next so many rows, shape (n, samples_per_query)."""


class IssueOrder:
    """One loaded set, and the order and times in which its samples are issued.

    A row is a query of `samples_per_query` samples; in Offline, where there is one query, a row is one
    sample of it. Rows are drawn as far as they are asked for; what was drawn does not change.

    Attributes:
        loaded: What `System.load` is given, in loaded order (MultiStream padding included).
        query_count: How many rows there are; None where the clock decides.
        samples_per_query: Columns of `samples`.
    """

    def __init__(
        self,
        loaded: IndexArray,
        samples_per_query: int,
        query_count: int | None,
        draw_rows: Rows,
        draw_arrivals: Callable[[int, int], NDArray[np.int64]],
    ) -> None:
        self.loaded = loaded
        self.samples_per_query = samples_per_query
        self.query_count = query_count
        self._draw_rows = draw_rows
        self._draw_arrivals = draw_arrivals
        self._rows = np.empty((0, samples_per_query), dtype=np.int32)
        self._drawn = 0
        self._drawing = (
            threading.Lock()
        )  # several workers may ask for rows that are yet to be drawn

    def samples(self, start: int, stop: int) -> NDArray[np.int64]:
        """Sample indices of rows `start` to `stop`, shape (stop - start, samples_per_query)."""
        if stop > self._drawn:
            with self._drawing:
                self._extend(stop)
        return self._rows[start:stop].astype(np.int64)

    def arrivals_ns(self, start: int, stop: int) -> NDArray[np.int64]:
        """When rows `start` to `stop` are due, in ns from the start of the set.

        Server: a Poisson process. Stream scenarios issue on completion; theirs are the constant gaps of
        `target_qps`, if it is set, which nothing waits for. Offline: all 0.
        """
        return self._draw_arrivals(start, stop)

    def _extend(self, stop: int) -> None:
        if stop <= self._drawn:
            return  # another worker was first
        more = max(stop - self._drawn, min(self._drawn, 1 << 20), FEWEST_DRAWN)
        if self.query_count is not None:
            more = min(more, max(self.query_count, stop) - self._drawn)
        if self._drawn + more > len(self._rows):
            room = max(self._drawn + more, 2 * len(self._rows))
            if self.query_count is not None and self.query_count >= self._drawn + more:
                room = self.query_count
            rows = np.empty((room, self.samples_per_query), dtype=np.int32)
            rows[: self._drawn] = self._rows[: self._drawn]
            self._rows = rows
        self._rows[self._drawn : self._drawn + more] = self._draw_rows(more)
        self._drawn += more


def plan(settings: Settings) -> tuple[IssueOrder, ...]:
    """The loaded sets of a test with their orders: one in performance mode, all in accuracy mode."""
    return tuple(_order(settings, loaded, size) for loaded, size in _loaded_sets(settings))


def _loaded_sets(settings: Settings) -> list[tuple[IndexArray, int]]:
    """The loaded sets, each with its size before padding."""
    size = settings.performance_sample_count
    performance = settings.mode is Mode.PERFORMANCE
    total = size if performance else settings.total_sample_count
    shuffled = Engine(settings.seeds.qsl).shuffle(np.arange(total, dtype=np.int64))
    sets = []
    for start in range(0, total, size):
        chosen = shuffled[start : start + size]
        # Padding lets a query of contiguous samples begin anywhere in the set.
        padding = [chosen[place % len(chosen)] for place in range(settings.samples_per_query - 1)]
        sets.append((np.concatenate([chosen, np.array(padding, dtype=np.int64)]), len(chosen)))
    return sets


def _order(settings: Settings, loaded: IndexArray, size: int) -> IssueOrder:
    if settings.scenario is Scenario.OFFLINE:
        return _offline(settings, loaded)
    scenario, width = settings.scenario, settings.samples_per_query
    performance = settings.mode is Mode.PERFORMANCE
    least = least_queries(settings, len(loaded))
    schedule = _Arrivals(settings)

    sample = Engine(settings.seeds.sample_index)
    starts = np.arange(0, size, width, dtype=np.int64)
    accuracy_starts = None if performance else sample.shuffle(starts)
    # These two are drawn in every mode, used or not.
    unique_starts = sample.shuffle(starts)
    equal = settings.sample_concatenate_permutation and scenario is not Scenario.MULTI_STREAM
    permutations = _permutations(sample, len(loaded), least, keep=equal)

    count: int | None
    if not performance or settings.performance_issue_unique:
        count = least if width == 1 else min(least, len(unique_starts))
    elif scenario is Scenario.SERVER:
        count = schedule.count_until(settings.min_duration_ns, _padded(settings, loaded, least))
        if equal:
            count = _whole_sets(count, len(loaded))
    else:
        count = None

    drawn = 0

    def draw_rows(more: int) -> NDArray[np.int64]:
        nonlocal drawn
        places = np.arange(drawn, drawn + more)
        drawn += more
        if performance and settings.performance_issue_same:
            first = np.full(more, settings.performance_issue_same_index)
        elif settings.performance_issue_unique:
            first = unique_starts[places]
        elif equal:
            first = permutations[places % len(permutations)]
        elif accuracy_starts is not None:
            first = accuracy_starts[places]
        else:
            first = sample.uniform(size, more)
        if width == 1:
            single: NDArray[np.int64] = loaded[first].reshape(-1, 1)
            return single
        contiguous: NDArray[np.int64] = loaded[first[:, None] + np.arange(width)]
        return contiguous

    return IssueOrder(loaded, width, count, draw_rows, schedule.between)


def expected_samples(settings: Settings) -> int:
    """Offline: the samples that an expected rate would need to fill the minimum duration."""
    seconds = settings.min_duration_ns / NS_PER_S
    return int(OFFLINE_SLACK * seconds * (settings.target_qps or 0.0))


def _offline(settings: Settings, loaded: IndexArray) -> IssueOrder:
    """One query: the loaded set repeated; with concatenated permutations, each repeat shuffled."""
    performance = settings.mode is Mode.PERFORMANCE
    size = len(loaded)
    count: int | None
    if not performance or settings.performance_issue_unique:
        count = size
    elif settings.target_qps is None:
        count = None
    else:
        count = max(settings.min_query_count, expected_samples(settings))
    if settings.sample_concatenate_permutation and count is not None:
        count = _whole_sets(count, size)

    sample: Engine | None = None
    if settings.sample_concatenate_permutation:
        sample = Engine(settings.seeds.sample_index)
        sample.skip_shuffles(size, 2 if performance else 3)
    drawn = 0
    left = np.empty(0, dtype=np.int64)

    def draw_rows(more: int) -> NDArray[np.int64]:
        nonlocal drawn, left
        start, drawn = drawn, drawn + more
        if performance and settings.performance_issue_same:
            return np.full((more, 1), loaded[settings.performance_issue_same_index])
        if sample is None:
            return loaded[np.arange(start, drawn) % size].reshape(-1, 1)
        parts = [left]
        ready = len(left)
        while ready < more:
            parts.append(sample.shuffle(loaded))
            ready += size
        repeated = np.concatenate(parts)
        left = repeated[more:]
        return repeated[:more].reshape(-1, 1)

    def at_start(start: int, stop: int) -> NDArray[np.int64]:
        return np.broadcast_to(np.int64(0), max(0, stop - start))

    return IssueOrder(loaded, 1, count, draw_rows, at_start)


class _Arrivals:
    """Arrival times, drawn as far as they are asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = Engine(settings.seeds.schedule)
        self._times_ns = np.zeros(1, dtype=np.int64)

    def between(self, start: int, stop: int) -> NDArray[np.int64]:
        """Arrivals `start` to `stop`, in ns from the start."""
        if self._settings.scenario is Scenario.SERVER:
            while stop > len(self._times_ns):
                self._draw(max(stop - len(self._times_ns), len(self._times_ns)))
            return self._times_ns[start:stop]
        rate = self._settings.target_qps
        gap_ns = int(1.0 / rate * 1e9) if rate else 0
        return np.arange(start, stop, dtype=np.int64) * gap_ns

    def count_until(self, duration_ns: int, least: int) -> int:
        """The fewest queries, at least `least`, of which the last is due at `duration_ns` or later."""
        rate = self._settings.target_qps or 1.0
        self.between(0, max(least, int(rate * duration_ns / NS_PER_S)))
        while self._times_ns[-1] < duration_ns:
            self._draw(max(1024, len(self._times_ns) // 100))
        reached = int(np.searchsorted(self._times_ns, duration_ns, side="left")) + 1
        return max(least, reached)

    def _draw(self, more: int) -> None:
        rate = self._settings.target_qps or 1.0
        times_ns = np.empty(len(self._times_ns) + more, dtype=np.int64)
        drawn = len(self._times_ns)
        times_ns[:drawn] = self._times_ns
        gaps_ns = self._engine.exponential_gaps_ns(rate, more)
        np.cumsum(gaps_ns, out=times_ns[drawn:])
        times_ns[drawn:] += self._times_ns[-1]
        self._times_ns = times_ns


def least_queries(settings: Settings, loaded_count: int) -> int:
    """The reference's minimum query count, which fixes how much is drawn before the first index."""
    if settings.mode is Mode.ACCURACY or settings.performance_issue_unique:
        return loaded_count // settings.samples_per_query
    least = settings.min_query_count
    if settings.sample_concatenate_permutation and settings.scenario is Scenario.SINGLE_STREAM:
        seconds = settings.min_duration_ns / NS_PER_S
        least = max(least, int(EQUAL_ISSUE_SLACK * seconds * (settings.target_qps or 0.0)))
        size = settings.performance_sample_count
        least += size - least % size
    return least


def _permutations(sample: Engine, size: int, least: int, *, keep: bool) -> IndexArray:
    """Enough shuffles of a running permutation to cover `least`; only drawn past if not kept."""
    rounds = -(-least // size)
    if not keep:
        sample.skip_shuffles(size, rounds)
        return np.empty(0, dtype=np.int64)
    running = np.arange(size, dtype=np.int64)
    parts = []
    for _ in range(rounds):
        running = sample.shuffle(running)
        parts.append(running)
    return np.concatenate(parts)


def _padded(settings: Settings, loaded: IndexArray, least: int) -> int:
    return _whole_sets(least, len(loaded)) if settings.sample_concatenate_permutation else least


def _whole_sets(count: int, size: int) -> int:
    return -(-count // size) * size

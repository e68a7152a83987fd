"""A grid of fixed choices: the same federation trained to its target at every K and E, for several seeds.

Seconds and joules are kept for each training, so that one grid tells the empirically best choice at every
gamma. What is finished stays finished: the same command goes on where the last one was stopped.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from gnomon.core.errors import RunFolderError, SettingsError, SystemFault
from gnomon.core.protocol import Progress, ProgressObserver
from gnomon.fleet.assembly import Blueprint, Federation
from gnomon.fleet.devices import Devices
from gnomon.fleet.grid_file import Grid, write_grid
from gnomon.fleet.grid_folder import (
    FinishedTrial,
    GridPlan,
    Place,
    grid_of,
    held,
    open_grid,
    read_trials,
    write_trial,
)
from gnomon.fleet.grid_trial import train
from gnomon.fleet.options import GRID_FILE
from gnomon.fleet.randomness import keyed

CLIENTS_VALUES, ITERATIONS_VALUES = 8, 7
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def spread_values(most: int, count: int) -> tuple[int, ...]:
    """Up to `count` whole numbers from 1 to `most`, evenly in the logarithm."""
    values = np.unique(np.geomspace(1, most, count).round().astype(np.int64))
    return tuple(values.tolist())


def run_grid(
    plan: GridPlan,
    path: Path | str,
    devices: Devices,
    *,
    workers: int = 1,
    observer: ProgressObserver | None = None,
) -> Grid:
    """Train what is not finished yet; return the whole grid, written to `grid.json` in its folder as well.

    Args:
        plan: The federation, K, E and seeds.
        path: The grid's folder; what was asked for there before belongs to the plan.
        devices: What the federation's devices cost.
        workers: Processes that train side by side, each with one thread.
        observer: Told whenever a training is finished.

    Raises:
        SettingsError: The folder holds a grid with other settings.
        RunFolderError: The folder cannot be written or read, or another grid is going on there.
        DataError: A file there is damaged.
        SystemFault: A worker process died.
        KeyboardInterrupt: Ctrl-C; finished trainings are kept.
    """
    path = Path(path)
    if workers < 1:
        raise SettingsError(f"--workers must be at least 1, got {workers}")
    plan = open_grid(path, plan)
    with held(path):
        trials = read_trials(path, plan)
        missing = [place for place in _ordered(plan) if place not in trials]
        if missing:
            assert Federation.of(plan.blueprint, devices).learner  # what is wrong is told here
            _side_by_side(
                plan, path, devices, missing, trials, min(workers, len(missing)), observer
            )
        grid = grid_of(plan, trials)
        try:
            write_grid(grid, path / GRID_FILE)
        except OSError as error:
            raise RunFolderError(f"cannot write {path / GRID_FILE}: {error.strerror}") from None
    return grid


def _ordered(plan: GridPlan) -> list[Place]:
    """Seed by seed, each in a shuffled order.

    So an interrupted grid has every point for some seeds, and the first trainings say how long the rest
    will take: they are not all from one corner.
    """
    places = sorted(plan.places, key=lambda place: place.seed)
    share = len(places) // len(plan.seeds)
    parts = [places[start : start + share] for start in range(0, len(places), share)]
    shuffled = keyed(0, "order of a grid").permutation(share)
    return [part[number] for part in parts for number in shuffled]


_worker: tuple[Blueprint, Devices, Event]
"""What a worker process is to know."""


def _side_by_side(
    plan: GridPlan,
    path: Path,
    devices: Devices,
    missing: list[Place],
    trials: dict[Place, FinishedTrial],
    workers: int,
    observer: ProgressObserver | None,
) -> None:
    """Train the missing and add them to `trials`; any trouble ends all workers."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    known = (plan.blueprint, devices, stop)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=known)
    watch = _Watch(plan, len(missing), trials, workers, observer)
    try:
        with _inherited_by_workers():
            waiting: list[Future[FinishedTrial]] = [pool.submit(_train, place) for place in missing]
        for future in as_completed(waiting):
            finished = future.result()
            write_trial(path, finished, plan.digest)
            trials[finished.place] = finished
            watch.tell(finished)
    except BrokenProcessPool:
        raise SystemFault(
            "a worker process died; finished trainings are kept: the same command goes on, with fewer "
            "--workers if memory was short"
        ) from None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


@contextmanager
def _inherited_by_workers() -> Iterator[None]:
    """Workers have one thread each, and leave it to their parent what comes of Ctrl-C."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    main = threading.current_thread() is threading.main_thread()  # which alone has a say in signals
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(blueprint: Blueprint, devices: Devices, stop: Event) -> None:
    """A worker begins: it goes when its parent goes, also if that is killed."""
    global _worker
    _worker = (blueprint, devices, stop)
    threading.Thread(target=_go_with_parent, daemon=True).start()


def _go_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@cache
def _federation() -> Federation:
    """A worker's own, with its data: made once, for all its trainings."""
    blueprint, devices, _ = _worker
    return Federation.of(blueprint, devices)


def _train(place: Place) -> FinishedTrial:
    federation = _federation()
    began_s = time.monotonic()
    trial = train(federation, place, _worker[-1])
    return FinishedTrial(place, trial, time.monotonic() - began_s)


@dataclass
class _Watch:
    """Turns finished trainings into progress of the whole, with an estimate of the time left."""

    plan: GridPlan
    missing: int
    trials: Mapping[Place, FinishedTrial]
    workers: int
    observer: ProgressObserver | None
    done: int = 0

    def __post_init__(self) -> None:
        self._began_s = time.monotonic()

    def tell(self, finished: FinishedTrial) -> None:
        """One more is finished."""
        self.done += 1
        if self.observer is None:
            return
        left_s = time_left_s(self.plan, self.trials) / self.workers
        trial, place = finished.trial, finished.place
        came = "target" if trial.reached else "no target"
        whole = len(self.plan.places)
        text = (
            f"K {place.clients_per_round}, E {place.local_iterations}: {came} after {trial.rounds} rounds, "
            f"about {left_s:.0f} s to go"
        )
        name = f"training {len(self.trials)} of {whole}"
        elapsed_s = time.monotonic() - self._began_s
        self.observer(Progress(name, self.done / self.missing, elapsed_s, text))


def time_left_s(plan: GridPlan, trials: Mapping[Place, FinishedTrial]) -> float:
    """Seconds of the trainings to come, one after another: each as long as the nearest that is finished."""
    missing = [place for place in plan.places if place not in trials]
    if not missing or not trials:
        return 0.0
    known = np.log([place[:2] for place in trials])
    took_s = np.array([finished.measured_s for finished in trials.values()])
    apart = np.log([place[:2] for place in missing])[:, None, :] - known[None, :, :]
    return float(took_s[(apart**2).sum(axis=2).argmin(axis=1)].sum())

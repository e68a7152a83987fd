"""A campaign: every variant for every seed at equal budgets, whatever interrupts it.

What is finished stays finished: the same command goes on where the last one was stopped.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from gnomon.core.environment import capture
from gnomon.core.errors import GnomonError, GnomonWarning, SettingsError, SystemFault
from gnomon.core.protocol import Progress, ProgressObserver
from gnomon.recommend.config import DLRM_SMALL, DlrmConfig
from gnomon.recommend.data import ClickData
from gnomon.recommend.recipe import RECIPES, Recipe, TrainConfig, Variant
from gnomon.recommend.record import Step
from gnomon.recommend.sweep_folder import (
    FinishedRun,
    SweepState,
    digest,
    held,
    open_sweep,
    read_sweep,
    run_file,
    write_run,
)
from gnomon.tasks.clicks import ClickSchema

DEFAULT_METHODS = ("full", "robe", "hash-shared", "hash-capped")
DEFAULT_COMPRESSIONS = (10.0, 100.0, 1000.0)
POLL_S = 0.2
GONE_S = 5.0


class ClickSource(Protocol):
    """Where samples come from: known by its settings, loaded where they are trained on."""

    @property
    def settings(self) -> dict[str, Any]:
        """What settles every sample, ready for JSON."""
        ...

    @property
    def schema(self) -> ClickSchema:
        """The embedding tables."""
        ...

    def load(self) -> ClickData:
        """The samples."""
        ...


@dataclass(frozen=True)
class SweepConfig:
    """What is trained: `variants` x `seeds`, each under the same settings.

    Attributes:
        source: Where the samples come from.
        variants: Embedding methods at their compressions.
        seeds: Of weights and order; at least three for error bars that mean something.
        model: Widths.
        recipe: Steps.
        epochs: Passes.
        evaluate_every: As in `TrainConfig`.
        target: As in `TrainConfig`.
        threads: Of each training.
    """

    source: ClickSource
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    model: DlrmConfig = DLRM_SMALL
    recipe: Recipe = field(default_factory=lambda: RECIPES["small"])
    epochs: int = 2
    evaluate_every: int = 0
    target: float | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse an empty plan, and settings out of range.

        Raises:
            SettingsError: With the mend.
        """
        if not self.variants or not self.seeds:
            raise SettingsError("a sweep needs at least one method and one seed")
        self.training(self.variants[0], self.seeds[0])

    def training(self, variant: Variant, seed: int) -> TrainConfig:
        """One training of the plan."""
        return TrainConfig(
            self.model,
            variant,
            self.recipe,
            epochs=self.epochs,
            seed=seed,
            evaluate_every=self.evaluate_every,
            target=self.target,
            threads=self.threads,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What every training has in common, ready for JSON."""
        shared = self.training(self.variants[0], 0).as_dict()
        del shared["variant"], shared["seed"]
        return {"data": self.source.settings, **shared}

    def default_folder(self, root: Path) -> Path:
        """The same folder for the same settings, so that the same command goes on with its sweep."""
        settings = self.settings
        rows = settings["data"].get("train_rows", "all")
        return root / f"clicks-{settings['data']['format']}-{rows}-{digest(settings)}"


def variants_of(methods: Sequence[str], compressions: Sequence[float]) -> tuple[Variant, ...]:
    """Every method at every compression; full tables once.

    Raises:
        UnknownNameError: A method that is not known.
        SettingsError: A compression that cannot be.
    """
    made = [Variant.of(method, factor) for method in methods for factor in compressions]
    return tuple(dict.fromkeys(made))


def check_variants(config: SweepConfig) -> None:
    """Make every embedding once, so that what cannot be made is told before anything is trained.

    Raises:
        SettingsError: A compression that a method cannot reach, or an option that it does not have.
    """
    from gnomon.recommend.train import embedding_of

    for variant in config.variants:
        embedding_of(variant, config.source.schema, config.model.dim, 0)


def run_sweep(
    config: SweepConfig,
    path: Path | str,
    *,
    workers: int = 1,
    observer: ProgressObserver | None = None,
) -> SweepState:
    """Train what is not finished yet; return everything that is.

    Args:
        config: The plan.
        path: The sweep's folder.
        workers: Processes that train side by side; on record, since it shows in the times.
        observer: Told now and then how it stands.

    Returns:
        The sweep as its folder tells it.

    Raises:
        SettingsError: The folder holds a sweep with other settings, or settings are out of range.
        RunFolderError: The folder cannot be written or read, or another sweep is going on there.
        DataError: A model diverged.
        SystemFault: A worker process died.
        KeyboardInterrupt: Ctrl-C; finished trainings are kept.
    """
    path = Path(path)
    if workers < 1:
        raise SettingsError(f"workers must be at least 1, got {workers}")
    check_variants(config)
    open_sweep(path, config.settings, config.variants, config.seeds)
    with held(path):
        # Seed by seed: an interrupted sweep has every method for some seeds, not some methods for all.
        jobs = [
            (variant, seed)
            for seed in config.seeds
            for variant in config.variants
            if not run_file(path, variant, seed).exists()
        ]
        if jobs:
            watch = _Watch(len(config.seeds) * len(config.variants), len(jobs), observer)
            if workers == 1:
                _here(config, path, jobs, watch)
            else:
                _side_by_side(config, path, jobs, min(workers, len(jobs)), watch)
    return read_sweep(path)


@dataclass
class _Watch:
    """Turns what trainings say into progress of the whole."""

    planned: int
    missing: int
    observer: ProgressObserver | None
    done: int = 0
    began_s: float = field(default_factory=time.monotonic)
    shares: dict[str, float] = field(default_factory=dict)

    def step(self, name: str, step: Step) -> None:
        """A training goes on."""
        self.shares[name] = step.share_done
        auc = "" if step.auc is None else f", AUC {step.auc:.4f}"
        self._tell(f"{name}: epoch {step.epoch}{auc}")

    def finish(self, name: str, run_auc: float) -> None:
        """A training has come to its end."""
        self.shares.pop(name, None)
        self.done += 1
        self._tell(f"{name}: AUC {run_auc:.4f}")

    def _tell(self, text: str) -> None:
        if self.observer is None:
            return
        elapsed_s = time.monotonic() - self.began_s
        share = min(1.0, (self.done + sum(self.shares.values())) / self.missing)
        rest = f", {elapsed_s * (1 - share) / share:.0f} s to go" if share > 0.01 else ""
        number = min(self.planned, self.planned - self.missing + self.done + 1)
        name = f"training {number} of {self.planned}"
        self.observer(Progress(name, share, elapsed_s, text + rest))


Job = tuple[Variant, int]


def _name(job: Job) -> str:
    return f"{job[0].name}, seed {job[1]}"


def _train(
    config: SweepConfig, path: Path, data: ClickData, job: Job, workers: int, observer: Any
) -> float:
    """Carry out one training and tell it; the AUC at its end."""
    from gnomon.recommend.train import train

    variant, seed = job
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GnomonWarning)  # said once, by check_variants
        _, record = train(config.training(variant, seed), data, observer)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    run = FinishedRun(variant, seed, record, data.source, capture(), workers, now)
    write_run(path, run, config.settings)
    return record.evaluations[-1].auc


def _here(config: SweepConfig, path: Path, jobs: list[Job], watch: _Watch) -> None:
    data = config.source.load()
    for job in jobs:
        name = _name(job)
        auc = _train(config, path, data, job, 1, lambda step, name=name: watch.step(name, step))
        watch.finish(name, auc)


def _side_by_side(
    config: SweepConfig, path: Path, jobs: list[Job], workers: int, watch: _Watch
) -> None:
    """Each worker takes the next job when it has finished one; any trouble ends them all."""
    context = multiprocessing.get_context("spawn")
    waiting, told = context.Queue(), context.Queue()
    for job in jobs:
        waiting.put(job)
    for _ in range(workers):
        waiting.put(None)
    processes = [
        context.Process(
            target=_worker, args=(config, path, waiting, told, workers, os.getpid()), daemon=True
        )
        for _ in range(workers)
    ]
    try:
        with _ignoring_interrupts():  # which children inherit, from their first instruction on
            for process in processes:
                process.start()
        left = len(jobs)
        while left:
            for kind, name, value in _messages(told, processes):
                if kind == "step":
                    watch.step(name, value)
                elif kind == "done":
                    watch.finish(name, value)
                    left -= 1
                else:
                    raise GnomonError(value)
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
        for process in processes:
            if process.pid is not None:
                process.join(GONE_S)
                process.kill()
        waiting.cancel_join_thread()


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Ctrl-C goes to the whole process group, and it is the parent that decides what comes of it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread has a say in signals, and gets them
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _messages(told: Any, processes: list[Any]) -> Iterator[tuple[str, str, Any]]:
    """What workers have said by now; a worker that died without a word is a fault."""
    gone = [process for process in processes if process.exitcode not in (None, 0)]
    try:
        yield told.get(timeout=POLL_S)
        while True:
            yield told.get_nowait()
    except queue.Empty:
        if gone:
            raise SystemFault(
                f"a worker process ended with exit code {gone[0].exitcode}; finished trainings are kept: "
                f"the same command goes on, with fewer --workers if memory was short"
            ) from None


def _worker(
    config: SweepConfig, path: Path, waiting: Any, told: Any, workers: int, parent: int
) -> None:
    """One process: loads the data once, then trains what it is given."""
    # Being ended by the parent is an exception, so that a file half written is taken away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def step(name: str, now: Step) -> None:
        if os.getppid() != parent:  # an orphan has nobody to work for
            os._exit(1)
        told.put(("step", name, now))

    name = ""
    try:
        data = config.source.load()
        for job in iter(waiting.get, None):
            name = _name(job)
            auc = _train(config, path, data, job, workers, lambda now, name=name: step(name, now))
            told.put(("done", name, auc))
    except GnomonError as error:
        told.put(("failed", name, str(error)))
    except KeyboardInterrupt:
        told.cancel_join_thread()

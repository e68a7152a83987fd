"""A campaign: as many runs as a result is made of, each with a seed of its own, one after the other.

A run that is over is on record at once; a campaign that was broken off goes on with the next one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from gnomon.core.errors import SettingsError, UsageError
from gnomon.core.protocol import Ending, Job
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.timetotrain.caches import clear_caches
from gnomon.timetotrain.cluster import train_on_cluster
from gnomon.timetotrain.group import Alone
from gnomon.timetotrain.journal import JOURNAL_FILE
from gnomon.timetotrain.judge import fingerprints, judge, run_folder, settings_of, verdict_on
from gnomon.timetotrain.launch import Ending as Ended
from gnomon.timetotrain.launch import read_ending, run_processes, write_ending
from gnomon.timetotrain.plan import Plan, write_plan
from gnomon.timetotrain.progress import CampaignProgress
from gnomon.timetotrain.reference_point_files import read_reference_points
from gnomon.timetotrain.run_log import Submission, result_file, submission_of, write_run_log
from gnomon.timetotrain.seeds import draw_seed, run_seed
from gnomon.timetotrain.session import RAISED
from gnomon.timetotrain.settings import (
    FEWEST_RUNS,
    MEASUREMENT,
    TrainingOptions,
    declaration_of,
    layered,
    reference_points_path,
    runs_asked,
)
from gnomon.timetotrain.task import require_training
from gnomon.timetotrain.trace import RunTrace, read_trace
from gnomon.timetotrain.train_once import train_once


def prepare(benchmark: Benchmark, task: Task, options: TrainingOptions) -> tuple[str, ...]:
    """Whether benchmark, task and options fit together.

    Returns:
        What the user should know before the first run.
    """
    trained, settings = require_training(task), layered(benchmark, options)
    declared = declaration_of(benchmark)
    if declared.reference_points:
        read_reference_points(reference_points_path(declared.reference_points))
    batch = settings.hyperparameters["global_batch_size"]
    if not isinstance(batch, int) or not 1 <= batch <= trained.training_size:
        raise SettingsError(
            f"global_batch_size must be a whole number from 1 to {trained.training_size:,}, the samples of "
            f"an epoch, got {batch!r}"
        )
    if batch % (options.processes * options.nodes):
        raise SettingsError(
            f"a global batch of {batch} cannot be shared by {options.processes * options.nodes} processes: "
            f"choose --processes, or --set global_batch_size=N, so that it divides"
        )
    notes = []
    asked = runs_asked(declared, options)
    if asked < FEWEST_RUNS:
        notes.append(f"{asked} runs give times but no score: a score takes at least {FEWEST_RUNS}")
    if settings.evaluate_every_samples < batch:
        notes.append("a step trains on more samples than lie between two evaluations")
    return tuple(notes)


def carry_out(job: Job) -> Ending:
    """Train all runs of the job that are not on record yet, and judge them."""
    campaign = _Campaign(job)
    return campaign.carry_out()


class _Campaign:
    """One campaign on its way."""

    def __init__(self, job: Job) -> None:
        assert isinstance(job.options, TrainingOptions)
        self._job, self._options = job, job.options
        self._settings = layered(job.benchmark, job.options)
        self._folder = job.writer.measurement_path(MEASUREMENT)
        self._count = runs_asked(self._settings, job.options)
        self._stored = self._begun()
        self._progress = CampaignProgress(
            job.observer, job.benchmark, self._settings, self._count, self._stored["measured_s"]
        )

    def carry_out(self) -> Ending:
        job = self._job
        job.writer.record_measurement(MEASUREMENT, self._stored)
        started_s, before_s = time.monotonic(), self._stored["measured_s"]
        try:
            fault = self._train_all()
        except BaseException:
            self._stored["measured_s"] = round(before_s + time.monotonic() - started_s, 3)
            with suppress(Exception):  # that it broke off counts for more than a figure
                judged = judge(self._folder, self._stored, job.benchmark, job.task, self._options)
                job.writer.record_measurement(MEASUREMENT, self._stored | {"result": judged.result})
            raise
        self._stored["measured_s"] = round(before_s + time.monotonic() - started_s, 3)
        if not fault and self._over():
            self._stored.pop("interrupted", None)
        judged = judge(self._folder, self._stored, job.benchmark, job.task, self._options)
        job.writer.record_measurement(MEASUREMENT, self._stored | {"result": judged.result})
        verdict = verdict_on(judged.checks, job.benchmark, self._options, job.task)
        return Ending(verdict, fault)

    def _over(self) -> bool:
        return len(self._stored["runs"]) == self._count or bool(self._stored["given_up"])

    def _train_all(self) -> str | None:
        """Train what is missing; returns why nothing can be trained, if so."""
        missing = []
        for number in range(1, self._count + 1):
            if str(number) in self._stored["runs"]:
                self._progress.ended(read_trace(run_folder(self._folder, number)))
            else:
                missing.append(number)
        if not missing or self._gives_up():
            return None
        train = self._one_after_the_other if self._options.cluster is None else self._on_cluster
        with closing(train(missing)) as trained:
            for number in trained:
                fault = self._take_in(number)
                if fault or self._gives_up():
                    return fault
        return None

    def _one_after_the_other(self, numbers: list[int]) -> Generator[int]:
        """Train on this machine; yields the number of each run that is over."""
        for number in numbers:
            folder, plan = self._new_folder(number), self._plan(number)
            self._progress.begins(number, plan.seed)
            self._stored["caches_cleared"] = clear_caches(plan.data)
            if plan.system is None:
                self._train_here(folder, plan)
            else:
                run_processes(folder, plan, self._progress.event)
            yield number

    def _on_cluster(self, numbers: list[int]) -> Generator[int]:
        """Train on the machines of a cluster; yields the number of each run that is over."""
        assert self._options.cluster is not None
        plans = [self._plan(number) for number in numbers]
        folders = [self._new_folder(number) for number in numbers]
        self._stored["caches_cleared"] = clear_caches(None)
        self._progress.begins(numbers[0], plans[0].seed)
        try:
            for place in train_on_cluster(self._options.cluster, plans, folders):
                yield numbers[place]
        finally:
            for folder in folders:
                if not any(folder.iterdir()):  # a run that was never begun
                    folder.rmdir()

    def _take_in(self, number: int) -> str | None:
        """Put a run on record that is over; returns why it cannot be, if so."""
        folder = run_folder(self._folder, number)
        if not (folder / JOURNAL_FILE).exists():
            ending = read_ending(folder)
            why = ending.why if ending and ending.why else "its processes wrote no journal"
            return f"run {number} did not begin: {why}"
        trace = read_trace(folder)
        write_run_log(self._folder / result_file(number), trace, self._submission())
        if trace.duration_s is None or (trace.reason == RAISED and not trace.evaluations):
            return f"run {number} did not get as far as its first evaluation: {trace.why}"
        self._record(trace)
        return None

    def _gives_up(self) -> bool:
        """Whether more runs failed already than the rules leave out: no result can come of the rest."""
        failed = [run for run in self._stored["runs"].values() if not run["converged"]]
        self._stored["given_up"] = len(failed) > self._settings.dropped
        return bool(self._stored["given_up"])

    def _new_folder(self, number: int) -> Path:
        folder = run_folder(self._folder, number)
        if folder.exists():
            self._set_aside(folder, number)
        folder.mkdir()
        return folder

    def _submission(self) -> Submission:
        """What the logs of this campaign say of who submits what."""
        return submission_of(
            self._job.benchmark,
            platform=self._job.system.name,
            cache_cleared=self._stored["caches_cleared"],
        )

    def _train_here(self, folder: Path, plan: Plan) -> None:
        """An object of the caller's trains in the caller's process."""
        launched_ns = time.perf_counter_ns()
        write_plan(folder, plan)
        train_once(
            plan,
            require_training(self._job.task),
            self._job.system,
            folder,
            Alone(),
            observer=self._progress.event,
        )
        write_ending(folder, Ended(launched_ns, time.perf_counter_ns(), 0))

    def _plan(self, number: int) -> Plan:
        record, options = self._job.writer.record, self._options
        return Plan(
            benchmark=self._job.benchmark.model_dump(mode="json"),
            settings=self._settings.model_dump(mode="json"),
            data=record.get("data_path"),
            system=record.get("asked_system"),
            number=number,
            seed=run_seed(self._stored["settings"]["seed"], number),
            processes=options.processes,
            nodes=options.nodes,
            rendezvous=options.rendezvous,
        )

    def _record(self, trace: RunTrace) -> None:
        folder = run_folder(self._folder, trace.number)
        self._stored["runs"][str(trace.number)] = {
            "converged": trace.converged,
            "files": fingerprints(folder),
        }
        self._progress.ended(trace)
        self._job.writer.record_measurement(MEASUREMENT, self._stored)

    def _set_aside(self, folder: Path, number: int) -> None:
        """Keep what a run left that was broken off, out of the way, and note that it is begun again."""
        aside = self._folder / "unfinished"
        aside.mkdir(exist_ok=True)
        shutil.move(folder, aside / f"{folder.name}-{len(list(aside.iterdir())) + 1}")
        self._stored["begun_again"] = [*self._stored["begun_again"], number]

    def _begun(self) -> dict[str, Any]:
        """The measurement's entry in `run.json` as long as it goes on."""
        job, options = self._job, self._options
        recorded = job.writer.record["measurements"].get(MEASUREMENT)
        together = options.processes * options.nodes > 1 or options.cluster is not None
        if together and job.writer.record["asked_system"] is None:
            raise UsageError(
                "an object of this process trains in this process alone: leave out processes and cluster, "
                "or give the system by name (own-loop -s file=FILE)"
            )
        if recorded is not None:
            settings = settings_of(job.benchmark, options, recorded["settings"].get("seed"))
            if recorded["settings"] != settings:
                raise UsageError(
                    "the campaign was begun with other settings than it would have now; start a new run"
                )
            return dict(recorded) | {"result": None, "interrupted": True}
        seed = draw_seed() if options.seed is None else options.seed
        return {
            "settings": settings_of(job.benchmark, options, seed),
            "result": None,
            "interrupted": True,
            "given_up": False,
            "runs": {},
            "begun_again": [],
            "measured_s": 0.0,
        }

"""One run of the fleet protocol: a federation from its first round, or its last saved one, to its end.

It is saved every few seconds and when it is broken off, so that it can be resumed from the last round with
its ledger intact.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import GnomonError, SettingsError, SystemFault, UsageError, described
from gnomon.core.protocol import Ending, Job, Progress
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.core.units import format_energy, format_seconds
from gnomon.fleet.assembly import Federation, assemble
from gnomon.fleet.control import parse_controller
from gnomon.fleet.grid_file import Grid, read_grid
from gnomon.fleet.judge import judge, problem_of, verdict_on
from gnomon.fleet.options import MEASUREMENT, FleetOptions, layered
from gnomon.fleet.record import (
    clear_record,
    devices_sha256,
    fingerprints,
    keep_inputs,
    write_record,
)
from gnomon.fleet.rules import PROFILES
from gnomon.fleet.server import SAVED, Server
from gnomon.fleet.state import Controller
from gnomon.fleet.system import FleetSystem

SAVE_EVERY_S = 5.0


def prepare(benchmark: Benchmark, task: Task, options: FleetOptions) -> tuple[str, ...]:
    """Make everything once, so that a mistake is told before a run folder exists.

    Returns:
        What the user should know before the run starts.
    """
    federation = assemble(benchmark, task, options)
    controller = _controller(benchmark, options)
    chooses = getattr(controller, "controller", controller)  # one may stand around another
    wanted = getattr(chooses, "clients_per_round", 1)
    if wanted > federation.blueprint.clients:
        raise SettingsError(
            f"--controller wants K={wanted} of {federation.blueprint.clients} clients: ask for fewer a "
            f"round, or set --clients {wanted}"
        )
    assert federation.learner.initial(federation.settings.seed).size
    assert federation.behaviour  # what is wrong with a trace is told here
    notes = []
    if len(federation.devices) != layered(benchmark, options).clients:
        notes.append(f"one client a device of the file: {len(federation.devices)} clients")
    if federation.settings.concurrency is not None and controller.name != "fixed":
        notes.append(
            "the controller takes rounds for synchronous: it may choose K and E badly here"
        )
    grid = _grid(options, federation)
    if grid is not None and grid.best(federation.settings.gamma) is None:
        notes.append("no point of the grid reached the target: there will be no regret")
    return tuple(notes)


def carry_out(job: Job) -> Ending:
    """Run the federation of the job to its end; one that was broken off before, from there on."""
    options, system = job.options, job.system
    assert isinstance(options, FleetOptions)
    assert isinstance(system, FleetSystem)
    profile = PROFILES[options.rules]
    folder = job.writer.measurement_path(MEASUREMENT)
    federation = assemble(job.benchmark, job.task, options)
    controller = _controller(job.benchmark, options)
    if federation.settings.concurrency is not None and not system.virtual_clock:
        raise SettingsError(
            f"asynchronous rounds are simulated, and {system.name} is real: leave out --concurrency, or use "
            f"--system simulated"
        )
    trace = federation.behaviour.trace
    keep_inputs(folder, federation.devices, _grid(options, federation), trace)
    server = federation.server(controller)
    if (folder / SAVED).exists():
        server.restore(folder)
        clear_record(folder)
    stored = _begun(job, federation, controller)
    job.writer.record_measurement(MEASUREMENT, stored)
    system.load(federation, folder)
    watch = _Watch(job, folder, server)
    try:
        fault = _driven(system, server, watch)
    except BaseException:
        server.save(folder)
        stored = _put_on_record(job, folder, server, stored, watch.measured_s)
        with suppress(Exception):  # of what there is, a figure; that it broke off counts for more
            judged = judge(folder, stored, federation, job.benchmark, profile)
            job.writer.record_measurement(MEASUREMENT, stored | {"result": judged.result})
        raise
    server.save(folder)
    if fault:
        stored["faults"] = [{"kind": "raised", "message": fault}]
    else:
        stored.pop("interrupted")
    stored = _put_on_record(job, folder, server, stored, watch.measured_s)
    judged = judge(folder, stored, federation, job.benchmark, profile)
    job.writer.record_measurement(MEASUREMENT, stored | {"result": judged.result})
    if not fault:
        (folder / SAVED).unlink()
    official = job.task.source().official
    verdict = verdict_on(judged.checks, profile, job.benchmark, options, official_data=official)
    return Ending(verdict, fault)


def _driven(system: FleetSystem, server: Server, watch: _Watch) -> str | None:
    """Let the fleet carry everything out; returns its fault, if it had one.

    Raises:
        UsageError: A controller or a setting asks for something that cannot be.
    """
    try:
        system.drive(server, watch)
    except SystemFault as error:
        return str(error)
    except GnomonError:
        raise
    except Exception as error:
        return f"{system.name}: {described(error)}"
    if server.ended is None and server.next_order() is not None:
        return f"{system.name} stopped before the federation was over"
    return None


class _Watch:
    """Called after every round: shows how the run stands, and saves it from time to time."""

    def __init__(self, job: Job, folder: Path, server: Server) -> None:
        self._job, self._folder = job, folder
        self._started_s = time.monotonic()
        self._saved_s = -math.inf  # the first round is saved at once
        recorded = job.writer.record["measurements"].get(MEASUREMENT, {})
        self._before_s = float(recorded.get("measured_s") or 0.0)
        self._done = share_done(server)

    @property
    def measured_s(self) -> float:
        """Seconds of a person's clock, of all starts of this run."""
        return self._before_s + time.monotonic() - self._started_s

    def __call__(self, server: Server) -> None:
        now_s = time.monotonic()
        if now_s - self._saved_s > SAVE_EVERY_S:
            server.save(self._folder)
            self._saved_s = time.monotonic()
        if self._job.observer is not None:
            self._done = max(self._done, share_done(server))
            self._job.observer(Progress(MEASUREMENT, self._done, self.measured_s, standing(server)))


def share_done(server: Server) -> float:
    """From 0 to 1: how far the loss is on its way to the target, or the rounds to their number."""
    settings, rounds = server.settings, server.ledger.rounds
    target, initial = settings.target_loss, server.initial_loss
    if target is None or not initial > target:
        return min(len(rounds) / settings.max_rounds, 1.0)
    losses = rounds["loss"][-settings.evaluate_every :]
    known = losses[np.isfinite(losses)]
    if not len(known):
        return 0.0
    return min(max((initial - float(known[-1])) / (initial - target), 0.0), 1.0)


def standing(server: Server) -> str:
    """The figures of the moment, in words."""
    rounds = server.ledger.rounds
    if not len(rounds):
        return "before the first round"
    last = rounds[-1]
    phase = "estimating" if last["phase"] == "estimate" else "training"
    return (
        f"round {len(rounds)}, loss {last['loss']:.4f}, K {last['clients_per_round']}, E "
        f"{last['local_iterations']}, {phase}, {format_seconds(server.ledger.duration_s)}, "
        f"{format_energy(server.ledger.energy_j)}"
    )


def _begun(job: Job, federation: Federation, controller: Controller) -> dict[str, Any]:
    """The measurement's entry in `run.json` as long as it goes on."""
    settings = problem_of(federation.blueprint) | {
        "dealt": federation.data.source.name,
        "dealt_sha256": federation.data.source.sha256,
        "devices_source": federation.devices.source,
        "devices_sha256": devices_sha256(federation.devices),
        "controller": controller.describe(),
        "learner": federation.learner.describe(),
    }
    recorded = job.writer.record["measurements"].get(MEASUREMENT)
    if recorded is not None:
        source = recorded["settings"].get("devices_source")
        settings["devices_source"] = source  # a resumed run reads them from its own folder
        if recorded["settings"] != settings:
            raise UsageError(
                "the federation was begun with other settings than it would have now; start a new run"
            )
    return {
        "settings": settings,
        "result": None,
        "faults": [],
        "interrupted": True,
        "virtual_clock": bool(job.system.virtual_clock),
        "measured_s": (recorded or {}).get("measured_s", 0.0),
    }


def _put_on_record(
    job: Job, folder: Path, server: Server, stored: dict[str, Any], measured_s: float
) -> dict[str, Any]:
    """Write the files, and what `run.json` says of them."""
    write_record(folder, server)
    ended = server.ended
    whole = stored | {
        "ended": {"reason": ended.reason, "why": ended.why} if ended else None,
        "files": fingerprints(folder),
        "measured_s": round(measured_s, 3),
    }
    job.writer.record_measurement(MEASUREMENT, whole)
    return whole


def _controller(benchmark: Benchmark, options: FleetOptions) -> Controller:
    return parse_controller(layered(benchmark, options).controller)


def _grid(options: FleetOptions, federation: Federation) -> Grid | None:
    """The grid that was asked for.

    Raises:
        UsageError: It is of another federation.
        DataError: It cannot be read.
    """
    if options.grid is None:
        return None
    grid = read_grid(options.grid)
    grid.require_same_problem(federation.blueprint, devices_sha256(federation.devices))
    return grid

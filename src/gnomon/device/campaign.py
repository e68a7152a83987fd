"""One run of the device protocol: a board from its first word to its last window.

Windows and answers are kept as they come, so that a run that is broken off goes on with the next one.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gnomon.core.errors import GnomonError, SettingsError, SystemFault, UsageError, described
from gnomon.core.files import sha256_of
from gnomon.core.protocol import Ending, Job
from gnomon.core.spec import Benchmark
from gnomon.core.task import Task
from gnomon.core.verdict import Check
from gnomon.device.board import Board
from gnomon.device.dut import Dut, Introduction
from gnomon.device.judge import Held, judge, verdict_on
from gnomon.device.layers import layer_profile
from gnomon.device.line import open_line
from gnomon.device.measure import measure
from gnomon.device.monitors import EnergyMonitor, make_monitor
from gnomon.device.options import ENERGY, PERFORMANCE, TinyOptions, layered
from gnomon.device.rules import PROFILES
from gnomon.device.session import Transcript
from gnomon.device.task import require_tiny

BOARD_FOLDER = "board"
SUPPLY_V = 3.0


def prepare(benchmark: Benchmark, task: Task, options: TinyOptions) -> tuple[str, ...]:
    """Look at everything once, so that a mistake is told before a run folder exists.

    Returns:
        What the user should know before the run starts.
    """
    require_tiny(task)
    settings, profile = layered(benchmark, options), PROFILES[options.rules]
    if not options.measurements:
        raise SettingsError(
            "nothing is left to measure: leave out --no-performance or --no-accuracy"
        )
    model = model_of(options, task)
    if not model.is_file():
        raise SettingsError(f"there is no model {model}: pass an int8 .tflite with --model")
    if options.energy is not None:
        monitor_of(options.energy)
    notes = []
    if settings.window_s < profile.least_window_s:
        notes.append(
            f"windows of {settings.window_s:g} s are shorter than the {profile.least_window_s:g} s of "
            f"{profile.name} rules: the run will be INVALID"
        )
    return tuple(notes)


def adapt_system(system: Any) -> Board:
    """A board as it is.

    Raises:
        SettingsError: It is none.
    """
    if all(hasattr(system, name) for name in ("connect", "counts", "describe", "close")):
        board: Board = system
        return board
    kind = system.__name__ if isinstance(system, type) else type(system).__name__
    raise SettingsError(f"a board is a registered name or an object with `connect`, got {kind}")


def model_of(options: TinyOptions, task: Task) -> Path:
    """The model's file: the user's, or the task's own."""
    return options.model if options.model is not None else task.model("tflite")


def monitor_of(text: str) -> EnergyMonitor:
    """The energy monitor that `NAME[:ADDRESS][@VOLTS]` asks for, not yet started.

    Raises:
        SettingsError: There is no such monitor, or the volts are no number.
    """
    asked, _, volts = text.partition("@")
    name, _, address = asked.partition(":")
    try:
        voltage_v = float(volts) if volts else SUPPLY_V
    except ValueError:
        raise SettingsError(f"--energy {text}: {volts!r} is no number of volts") from None
    return make_monitor(name, address or None, voltage_v=voltage_v, open_line=open_line)


def carry_out(job: Job) -> Ending:
    """Measure what was asked for; what a broken-off run has already measured is kept."""
    options, board, writer = job.options, job.system, job.writer
    assert isinstance(options, TinyOptions)
    if options.energy is not None and board.counts == "instructions":
        raise SettingsError("an emulated board has no energy of its own: leave out --energy")
    task = require_tiny(job.task)
    profile = PROFILES[options.rules]
    held = Held(job.benchmark, task, layered(job.benchmark, options), profile)
    model = model_of(options, task)
    fault = ""
    try:
        with _Connection(board, task.model_id, model, writer.path / BOARD_FOLDER) as connection:
            _require_the_same_model(job, connection.model_sha256)
            for name in options.measurements:
                if _is_done(writer.record["measurements"].get(name)):
                    continue
                fault = _measured(name, job, held, connection)
                if fault:
                    break
    except SystemFault as error:  # before anything could be measured
        fault = str(error)
    except GnomonError:
        raise
    checks: list[Check] = []
    for name, stored in writer.record["measurements"].items():
        checks += judge(name, writer.path / name, stored, held).checks
    if fault and not any(not check.passed for check in checks):
        checks.append(Check("board", False, "no answer", "a board that answers", fault))
    verdict = verdict_on(
        checks,
        job.benchmark,
        options,
        profile,
        measured=tuple(writer.record["measurements"]),
        official_data=task.source().official,
        counts=board.counts,
    )
    return Ending(verdict, fault or None)


class _Connection:
    """A board that was started, asked for its name, and is let go of at the end."""

    def __init__(self, board: Board, model_id: str, model: Path, folder: Path) -> None:
        self._board, self._model_id, self._model, self._folder = board, model_id, model, folder
        self.transcript = Transcript()
        self.model_sha256 = sha256_of(model)

    def __enter__(self) -> _Connection:
        self._folder.mkdir(exist_ok=True)
        self._line = self._board.connect(self._model_id, self._model, self._folder)
        self.dut = Dut(
            self._line,
            observer=self.transcript,
            counts=self._board.counts,
            io_manager=bool(getattr(self._board, "io_manager", False)),
        )
        try:
            self.introduction: Introduction = self.dut.hello(self._model_id)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the line, and of the board."""
        with suppress(Exception):
            self._line.close()
        self._board.close()

    def describe(self) -> dict[str, Any]:
        """What the board says of itself, and what it was asked to run."""
        return {
            **asdict(self.introduction),
            "address": self._line.address,
            "counts": self._board.counts,
            "instructions_per_us": self._board.instructions_per_us,
            "model_sha256": self.model_sha256,
        }


def _require_the_same_model(job: Job, model_sha256: str) -> None:
    """All measurements of a run are of one model, those before it was broken off included.

    Raises:
        UsageError: The model's file has changed since.
    """
    for stored in job.writer.record["measurements"].values():
        if stored["board"]["model_sha256"] != model_sha256:
            raise UsageError(
                "the run was begun with another model than the file holds now: start a new run"
            )


def _is_done(stored: dict[str, Any] | None) -> bool:
    return stored is not None and not stored.get("interrupted") and not stored["faults"]


def _measured(name: str, job: Job, held: Held, connection: _Connection) -> str:
    """Carry out one measurement and put it on record; returns the board's fault, if it had one."""
    options, writer = job.options, job.writer
    assert isinstance(options, TinyOptions)
    folder = writer.measurement_path(name)
    stored: dict[str, Any] = {
        "settings": held.settings.model_dump(mode="json") | {"model_id": held.task.model_id},
        "board": connection.describe(),
        "result": None,
        "faults": [],
        "interrupted": True,
    }
    monitor = None
    if name == ENERGY:
        assert options.energy is not None
        monitor = monitor_of(options.energy)
        stored["monitor"] = monitor.describe()
    writer.record_measurement(name, stored)
    fault = ""
    try:
        with closing(connection.transcript.into(folder)):
            measure(name, job, held, connection.dut, folder, monitor)
            if name == PERFORMANCE:
                stored["layers"] = layer_profile(connection.dut)
        stored.pop("interrupted")
    except SystemFault as error:
        fault = str(error)
    except GnomonError:
        raise
    except Exception as error:
        fault = f"{job.system.name}: {described(error)}"
    finally:
        if monitor is not None:
            with suppress(SystemFault):
                monitor.stop()
            stored["monitor"] = monitor.describe()
        if fault:
            stored["faults"] = [{"kind": "board", "message": fault}]
        with suppress(Exception):  # of what there is, a figure; that it broke off counts for more
            stored["result"] = judge(name, folder, stored, held).result
        writer.record_measurement(name, stored)
    return fault

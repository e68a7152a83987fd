"""The device under test as the host sees it: who it is, what it was loaded with, and its timed windows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from gnomon.core.errors import SettingsError, SystemFault
from gnomon.device import loading, wire
from gnomon.device.board import Counts, Line
from gnomon.device.conversation import (
    COMMAND_TIMEOUT_S,
    BoardSilentError,
    Conversation,
    Heard,
    Observer,
    complaint,
    first,
)
from gnomon.device.loading import Loading
from gnomon.device.task import Results
from gnomon.device.wire import Reply

TimestampMode: TypeAlias = Literal["performance", "energy"]
Verify: TypeAlias = Literal["always", "first", "doubt"]
"""When a load is read back: each, the first and any in doubt, only those in doubt."""

BOOT_TIMEOUT_S = 10.0
NAME_TIMEOUT_S = 1.0
SLOWEST_INFERENCE_S = 5.0
LONGEST_UNKNOWN_S = 600.0
COUNTER_US = 1 << 32
MOST_CLOCK_RATIO = 2.0
"""How far a board's clock may be from the host's where a wrap of its counter is mended."""
CLOCK_SLACK_US = 1e6
SAME_MODEL = {"strww01": "sww01"}
"""The field's C header and its documents name one model differently."""


@dataclass(frozen=True)
class Introduction:
    """Who a board says it is.

    Attributes:
        name: Its vendor, as `name` answers.
        profile: Its firmware.
        model_id: Its model, as it names it.
        timestamp_mode: Text (performance) or pulses on a pin (energy).
        banner: What it said while it booted, if the line was open by then.
    """

    name: str
    profile: str
    model_id: str
    timestamp_mode: TimestampMode
    banner: tuple[str, ...]


@dataclass(frozen=True)
class Inference:
    """One window.

    Attributes:
        iterations: Inferences between the timestamps.
        warmups: Inferences before.
        lap_start_us: The board's timestamp before; None in energy mode.
        lap_end_us: The one after, mended if the board's counter wrapped; None in energy mode.
        results: What the board printed, shape (outputs,).
        counter_wrapped: Whether a wrap of its 32-bit counter was mended.
        host_start_ns: `time.monotonic_ns()` when the host heard of the window's start.
        host_end_ns: And of its end.
    """

    iterations: int
    warmups: int
    lap_start_us: int | None
    lap_end_us: int | None
    results: Results
    counter_wrapped: bool
    host_start_ns: int
    host_end_ns: int


def same_model(one: str, other: str) -> bool:
    """Whether two names are of one model."""
    return SAME_MODEL.get(one, one) == SAME_MODEL.get(other, other)


class Dut:
    """A device under test on an open line. Not shared between threads.

    Args:
        line: To the board, or to an IO manager that has it behind it.
        observer: Is told everything that is said.
        chunk_bytes: Payload bytes of one command; default 31, 26 through an IO manager.
        command_timeout_s: How long a board may say nothing before it has answered a command.
        verify: When loads are read back.
        io_manager: Whether commands go through the field's IO manager (`dut COMMAND`).
        counts: What the board's counter counts; instructions are not held against the host's clock.
    """

    def __init__(
        self,
        line: Line,
        *,
        observer: Observer | None = None,
        chunk_bytes: int | None = None,
        command_timeout_s: float = COMMAND_TIMEOUT_S,
        verify: Verify = "first",
        io_manager: bool = False,
        counts: Counts = "time",
    ) -> None:
        self._talk = Conversation(line, observer, command_timeout_s, io_manager=io_manager)
        usual = wire.CHUNK_BYTES_THROUGH_IO_MANAGER if io_manager else wire.CHUNK_BYTES
        self._chunk_bytes = usual if chunk_bytes is None else chunk_bytes
        most = (wire.MOST_COMMAND_CHARACTERS - len("dut db ")) // 2
        if not 1 <= self._chunk_bytes <= most:
            raise SettingsError(f"chunk_bytes must be from 1 to {most}, got {chunk_bytes}")
        self._verify, self._counts = verify, counts
        self._mode: TimestampMode | None = None
        self._inference_s: float | None = None
        self._loaded = False

    def hello(
        self, model_id: str | None = None, boot_timeout_s: float = BOOT_TIMEOUT_S
    ) -> Introduction:
        """Learn who the board is, once it has booted.

        Args:
            model_id: The model that it must have.
            boot_timeout_s: How long it may take until it answers `name`.

        Raises:
            SystemFault: It does not answer, or has another model.
        """
        self._talk.met = False
        heard = self._talk.settle()
        name = self._name(heard, boot_timeout_s)
        if len(heard) > 1:  # answers to a boot, or to `name` sent again, may still be under way
            heard += self._talk.settle()
        profile = self._talk.ask("profile")
        model = first(profile, "model")
        if model is None:
            raise self._talk.fault("profile", "m-model-[...]", "it does not say which model it has")
        if model_id is not None and not same_model(model.name, model_id):
            raise SystemFault(
                f"the board at {self._talk.address} has model {model.name!r} where {model_id!r} is to "
                f"be measured: flash the firmware of {model_id}, or run the benchmark of {model.name}"
            )
        self._talk.met = True
        told = first(heard, "timestamp-mode")
        if told is not None:
            self._mode = "energy" if told.name == "energy" else "performance"
        else:  # it had booted before the line was open
            self._mode = "energy" if self.timestamp() is None else "performance"
        about = first(profile, "profile")
        banner = tuple(each.reply.text for each in heard if each.reply.kind != "name")
        return Introduction(name, about.name if about else "", model.name, self._mode, banner)

    def timestamp(self) -> int | None:
        """The board's microseconds now; None if it makes a pulse instead.

        Raises:
            SystemFault: It does not answer, or not with a number.
        """
        heard = self._talk.ask("timestamp")
        self._refuse("timestamp", "m-lap-us-...", heard)
        lap = first(heard, "lap")
        return None if lap is None else int(lap.values[0])

    def load(self, payload: bytes) -> Loading:
        """Load an input, chunk by chunk, and see to it that it has arrived.

        Raises:
            SystemFault: The board refuses it, does not answer, or something is lost each time.
        """
        verify = self._verify == "always" or (self._verify == "first" and not self._loaded)
        loaded = loading.load(self._talk, payload, self._chunk_bytes, verify=verify)
        self._loaded = True
        return loaded

    def infer(
        self, iterations: int, warmups: int = 0, *, expected_s: float | None = None
    ) -> Inference:
        """Have the board infer on what is loaded.

        Args:
            iterations: Inferences between the two timestamps.
            warmups: Inferences before.
            expected_s: About how long all of them take, if known; the last window says too. Three times
                the longer of both and 5 s are waited; where nothing is known, 5 s an inference (600 s at
                most).

        Raises:
            SystemFault: The board does not answer, answers something else, resets, or its clock runs
                backwards.
        """
        text = f"infer {iterations} {warmups}"
        wait_s = self._patience_s(iterations + warmups, expected_s)
        heard = self._talk.ask(text, wait_s, 2 * wait_s + self._talk.command_timeout_s)
        self._refuse(text, "m-infer-done", heard)
        for kind, number in (("warmup-start", warmups), ("infer-start", iterations)):
            echo = first(heard, kind)  # type: ignore[arg-type]
            if echo is not None and echo.values != (number,):
                raise self._talk.fault(
                    text,
                    f"m-{kind}-{number}",
                    f"it understood {echo.values[0]:.0f}: lost characters",
                )
        start = next((each for each in heard if each.reply.kind == "infer-start"), None)
        done = next((each for each in heard if each.reply.kind == "infer-done"), None)
        if start is None or done is None:
            raise self._talk.fault(text, "m-infer-start and m-infer-done", "one of them is missing")
        laps = [each for each in heard if each.reply.kind == "lap"]
        begin_ns, end_ns = (
            (laps[0].at_ns, laps[1].at_ns) if len(laps) == 2 else (start.at_ns, done.at_ns)
        )
        lap_start_us, lap_end_us, wrapped = self._laps(text, laps, (end_ns - begin_ns) / 1000)
        self._inference_s = (done.at_ns - start.at_ns) / 1e9 / iterations
        return Inference(
            iterations,
            warmups,
            lap_start_us,
            lap_end_us,
            self._finite(text, first(heard, "results")),
            wrapped,
            begin_ns,
            end_ns,
        )

    def results(self) -> Results:
        """What the board printed for its last inference, asked for again.

        Raises:
            SystemFault: It does not answer, or not with numbers.
        """
        heard = self._talk.ask("results")
        self._refuse("results", "m-results-[...]", heard)
        return self._finite("results", first(heard, "results"))

    def ask(self, text: str, timeout_s: float | None = None) -> tuple[Reply, ...]:
        """Send any command; what the board says before `m-ready`.

        Raises:
            SystemFault: No `m-ready` came, or the board has reset.
        """
        return tuple(each.reply for each in self._talk.ask(text, timeout_s))

    def _name(self, heard: list[Heard], boot_timeout_s: float) -> str:
        """What it answers to `name`; adds what came before to `heard`."""
        deadline = time.monotonic() + boot_timeout_s
        wait_s = min(NAME_TIMEOUT_S, boot_timeout_s)
        while True:
            try:
                # The `m-ready` of its boot may come in answer: only the name counts.
                heard += self._talk.exchange("name", wait_s, wait_s)
            except BoardSilentError as silence:
                if time.monotonic() >= deadline:
                    raise SystemFault(
                        f"{silence}: nothing that speaks the protocol within {boot_timeout_s:g} s; is "
                        f"it flashed, and set to this baud rate?"
                    ) from None
            name = first(heard, "name")
            if name is not None:
                return name.name
            if time.monotonic() >= deadline:
                raise self._talk.fault("name", "m-name-dut-[...]", "it does not give its name")
            heard += self._talk.settle()

    def _patience_s(self, count: int, expected_s: float | None) -> float:
        known_s = [] if expected_s is None else [expected_s]
        if self._inference_s is not None:
            known_s.append(self._inference_s * count)
        if not known_s:
            return min(LONGEST_UNKNOWN_S, 30 + SLOWEST_INFERENCE_S * count)
        return max(self._talk.command_timeout_s, 5 + 3 * max(known_s))

    def _laps(
        self, text: str, laps: list[Heard], host_us: float
    ) -> tuple[int | None, int | None, bool]:
        """The timestamps around a window, and whether a wrap between them was mended."""
        if not laps and self._mode == "energy":
            return None, None, False
        if len(laps) != 2:
            raise self._talk.fault(
                text,
                "two lines m-lap-us-...",
                f"it printed {len(laps)} timestamps; firmware built for energy prints none, and each "
                f"build measures one of the two",
            )
        start_us, end_us = (int(lap.reply.values[0]) for lap in laps)
        wrapped = end_us < start_us
        span_us = end_us - start_us + COUNTER_US * wrapped
        agrees = self._counts != "time" or (
            span_us / MOST_CLOCK_RATIO - CLOCK_SLACK_US
            <= host_us
            <= span_us * MOST_CLOCK_RATIO + CLOCK_SLACK_US
        )
        if wrapped and not (0 <= start_us < COUNTER_US and span_us < COUNTER_US / 2 and agrees):
            raise self._talk.fault(
                text,
                "a later timestamp",
                f"its clock runs backwards, from {start_us} to {end_us} us ({host_us / 1e6:.1f} s passed)",
            )
        if self._counts == "time" and host_us - span_us > COUNTER_US / 2:
            raise self._talk.fault(
                text,
                "a window of less than 71 minutes",
                f"its counter says {span_us / 1e6:.0f} s of a window of {host_us / 1e6:.0f} s",
            )
        return start_us, start_us + span_us, wrapped

    def _refuse(self, text: str, awaited: str, heard: list[Heard]) -> None:
        wrong = complaint(heard)
        if wrong:
            raise self._talk.fault(text, awaited, wrong)

    def _finite(self, text: str, reply: Reply | None) -> Results:
        if reply is None:
            raise self._talk.fault(text, "m-results-[...]", "it answered without results")
        values = np.array(reply.values, dtype=np.float64)
        if not np.isfinite(values).all():
            raise self._talk.fault(text, "finite results", f"it answered {reply.text!r}")
        return values

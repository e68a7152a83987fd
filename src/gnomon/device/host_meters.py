"""The meters inside a host: RAPL of its processors, NVML of an NVIDIA GPU.

They count the energy of the whole part, not of a process, and the host's clock marks windows on them. A
thread reads them ten times a second, which costs some microjoules and is what they refresh at in the worst
case.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.energy import EnergySamples, from_power
from gnomon.core.errors import SystemFault, described
from gnomon.core.extras import optional_module
from gnomon.device.monitors import Clock

POWERCAP = Path("/sys/class/powercap")
READ_EVERY_S = 0.1


class HostMeter:
    """Reads a counter of joules, or the power of the moment, over and over while it records."""

    clock: Clock = "host"

    def __init__(
        self,
        name: str,
        read: Callable[[], float],
        description: dict[str, Any],
        *,
        counts: bool,
        close: Callable[[], None] = lambda: None,
        read_every_s: float = READ_EVERY_S,
    ) -> None:
        """Nothing is read yet.

        Args:
            name: Registered name of the monitor.
            read: Joules since some fixed moment, or watts. May raise anything.
            description: For the record.
            counts: Whether `read` gives joules.
            close: Called once when recording ends.
            read_every_s: How often.
        """
        self.name = name
        self._read, self._close, self._counts = read, close, counts
        self._description = description
        self._read_every_s = read_every_s
        self._readings: list[tuple[float, float]] = []
        self._thread: threading.Thread | None = None
        self._stop_asked = threading.Event()
        self._fault: SystemFault | None = None

    def describe(self) -> dict[str, Any]:
        """As `EnergyMonitor` asks."""
        return self._description | {"read_every_s": self._read_every_s}

    def start(self) -> None:
        """As `EnergyMonitor` asks; the first reading is taken before it returns."""
        self._readings, self._fault = [], None
        self._stop_asked.clear()
        self._take()
        if self._fault is not None:
            raise self._fault
        self._thread = threading.Thread(target=self._record, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """As `EnergyMonitor` asks."""
        if self._thread is None:
            return
        self._stop_asked.set()
        self._thread.join()
        self._thread = None
        self._close()
        if self._fault is not None:
            raise self._fault

    def samples(self) -> EnergySamples:
        """As `EnergyMonitor` asks."""
        times_s, values = np.array(self._readings).T
        if self._counts:
            return EnergySamples(np.diff(values), times_s)
        return from_power(times_s, values)

    def timestamps(self) -> tuple[float, ...]:
        """None: the host's clock marks windows."""
        return ()

    def _record(self) -> None:
        while self._fault is None and not self._stop_asked.wait(self._read_every_s):
            self._take()
        if self._fault is None:
            self._take()

    def _take(self) -> None:
        try:
            before_s = time.monotonic()
            value = self._read()
            self._readings.append(((before_s + time.monotonic()) / 2, value))
        except SystemFault as fault:
            self._fault = fault
        except Exception as error:  # drivers raise what they like
            self._fault = SystemFault(f"the monitor {self.name} broke off: {described(error)}")


@dataclass
class RaplDomain:
    """One counter of the processor: a package, or the memory beside it.

    Attributes:
        name: `package-0`, `dram`.
        file: Holds microjoules since some fixed moment.
        range_uj: Where it begins again at 0.
    """

    name: str
    file: Path
    range_uj: int
    _last_uj: int | None = None
    _wrapped_uj: int = 0

    def joules(self) -> float:
        """Joules since some fixed moment, over wraps; it must be read at least once within a wrap's time.

        Raises:
            SystemFault: It cannot be read.
        """
        found_uj = int(_read_file(self.file))
        if self._last_uj is not None and found_uj < self._last_uj:
            self._wrapped_uj += self.range_uj
        self._last_uj = found_uj
        return (found_uj + self._wrapped_uj) / 1e6


def rapl_meter(powercap: Path = POWERCAP, read_every_s: float = READ_EVERY_S) -> HostMeter:
    """The processors' packages and memories that the kernel shows under `powercap`, added up.

    Raises:
        SystemFault: There is none, or its user may not read it.
    """
    domains = [
        RaplDomain(
            _read_file(folder / "name"),
            folder / "energy_uj",
            int(_read_file(folder / "max_energy_range_uj")),
        )
        for folder in sorted(powercap.glob("*-rapl:*"))
        if _read_file(folder / "name").startswith(("package", "dram"))
    ]
    if not domains:
        raise SystemFault(
            f"this computer shows no energy counter of its processors (RAPL) in {powercap}: virtual "
            "machines rarely do; use another monitor"
        )
    for domain in domains:
        domain.joules()
    return HostMeter(
        "rapl",
        lambda: sum(domain.joules() for domain in domains),
        {"instrument": "RAPL", "domains": [domain.name for domain in domains]},
        counts=True,
        read_every_s=read_every_s,
    )


def nvml_meter(index: int = 0, read_every_s: float = READ_EVERY_S) -> HostMeter:
    """An NVIDIA GPU: its counter of energy (Volta and later), or its power integrated.

    Args:
        index: Which GPU.
        read_every_s: How often it is read.

    Raises:
        MissingExtraError: The package `nvidia-ml-py` is not installed.
        SystemFault: There is no driver, or no such GPU, or it tells neither energy nor power.
    """
    nvml = optional_module("pynvml", "nvidia-ml-py", "energy", "energy of an NVIDIA GPU")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = nvml.nvmlDeviceGetName(handle)
        driver = nvml.nvmlSystemGetDriverVersion()
        counts = _has_counter(nvml, handle)
        if not counts:
            nvml.nvmlDeviceGetPowerUsage(handle)
    except nvml.NVMLError as error:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
        raise SystemFault(
            f"cannot measure the energy of GPU {index}: NVML says {error}; does `nvidia-smi` show it?"
        ) from None

    def energy_j() -> float:
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3

    def power_w() -> float:
        return float(nvml.nvmlDeviceGetPowerUsage(handle)) / 1e3

    return HostMeter(
        "nvml",
        energy_j if counts else power_w,
        {
            "instrument": f"NVML, {'energy counter' if counts else 'power, integrated'}",
            "address": str(index),
            "gpu": _as_text(name),
            "driver": _as_text(driver),
        },
        counts=counts,
        close=nvml.nvmlShutdown,
        read_every_s=read_every_s,
    )


def _has_counter(nvml: Any, handle: Any) -> bool:
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError as error:
        if error.value == nvml.NVML_ERROR_NOT_SUPPORTED:
            return False
        raise
    return True


def _as_text(value: str | bytes) -> str:
    """Older versions of the package give bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _read_file(file: Path) -> str:
    try:
        return file.read_text().strip()
    except PermissionError:
        raise SystemFault(
            f"{file} may only be read by root: sudo chmod a+r {POWERCAP}/*/energy_uj (until the next "
            "start of this computer), or run as root"
        ) from None
    except OSError as error:
        raise SystemFault(f"cannot read {file}: {described(error)}") from None

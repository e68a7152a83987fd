"""Energy monitors by name: instruments between supply and board, and the meters inside a host.

A monitor is started before the board boots, stopped after its last window, and then gives its samples and the
timestamps that it saw on its input; `core/energy.py` makes joules per inference of both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from gnomon.core.energy import EnergySamples
from gnomon.core.errors import SettingsError, UnknownNameError
from gnomon.device.board import Line

Clock = Literal["instrument", "host"]

OpenLine = Callable[[str, int], Line]
"""Opens a serial line from its address and baud rate."""


class EnergyMonitor(Protocol):
    """Something that records energy while a board works.

    Attributes:
        name: Registered name.
        clock: What times are counted on. `instrument`: the monitor's own clock, so that only timestamps
            that it saw itself mark windows. `host`: `time.monotonic`, so that the host may mark them.
    """

    name: str
    clock: Clock

    def describe(self) -> dict[str, Any]:
        """For the record: instrument, firmware, voltage, rate; some is known only after `start`."""

    def start(self) -> None:
        """Supply the board, where the instrument does that, and record from here on.

        Raises:
            SystemFault: The instrument is missing, silent or refuses.
        """

    def stop(self) -> None:
        """Record no more, switch the board's supply off where the instrument has it; may be called twice.

        Raises:
            SystemFault: The instrument broke off while it recorded.
        """

    def samples(self) -> EnergySamples:
        """What was recorded between `start` and `stop`."""

    def timestamps(self) -> tuple[float, ...]:
        """Seconds, on the samples' clock, of the falling edges that the board gave; empty for host meters."""


MONITORS = {
    "lpm01a": "STMicroelectronics X-NUCLEO-LPM01A (the address is its serial port)",
    "joulescope": "Joulescope JS110 or JS220 (the address is its serial number)",
    "rapl": "energy counters of this computer's processors",
    "nvml": "energy counter of an NVIDIA GPU (the address is its index; none: 0)",
}
"""Names and what they are, for lists."""


def make_monitor(
    name: str,
    address: str | None = None,
    *,
    voltage_v: float = 3.0,
    open_line: OpenLine | None = None,
) -> EnergyMonitor:
    """The monitor of this name, not yet started.

    Args:
        name: One of `MONITORS`.
        address: Which instrument, where there can be several.
        voltage_v: Supply of the board, for a monitor that gives it.
        open_line: For a monitor on a serial line.

    Raises:
        UnknownNameError: There is no such monitor.
        SettingsError: It needs an address, or does not understand this one.
        GnomonError: A package that it needs is missing.
    """
    match name:
        case "lpm01a":
            from gnomon.device.lpm01a import BAUD, Lpm01a

            if address is None or open_line is None:
                raise SettingsError(
                    "the monitor lpm01a needs the serial port it is on: /dev/ttyACM0 or so"
                )
            return Lpm01a(open_line(address, BAUD), voltage_v=voltage_v)
        case "joulescope":
            from gnomon.device.joulescope import Joulescope, find_joulescope

            return Joulescope(find_joulescope(address))
        case "rapl":
            from gnomon.device.host_meters import rapl_meter

            return rapl_meter()
        case "nvml":
            from gnomon.device.host_meters import nvml_meter

            if not (address or "0").isdecimal():
                raise SettingsError(
                    f"the address of the monitor nvml is a GPU's index, got {address!r}"
                )
            return nvml_meter(int(address or "0"))
        case _:
            raise UnknownNameError("energy monitor", name, MONITORS)

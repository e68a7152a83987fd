"""Which serial ports there are, what is known of the adapters behind them, and which answers as a board.

USB ids are those of the field's runner (mlcommons/tiny, `benchmark/runner/devices_*.yaml`) and of the
public udev rules of OpenOCD, pyOCD and probe-rs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, TypeAlias

from gnomon.core.errors import SystemFault, UsageError
from gnomon.device.dut import Dut, same_model
from gnomon.device.line import open_line, pyserial

Role: TypeAlias = Literal["board", "power", "interface"]
PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Adapter:
    """A USB device with a serial port, by its ids.

    Attributes:
        vendor_id: USB's.
        product_id: USB's.
        name: What is printed on it, or what it is sold as.
        role: A board, an energy monitor, or the field's interface board between host and board.
    """

    vendor_id: int
    product_id: int
    name: str
    role: Role = "board"


KNOWN_ADAPTERS = (
    Adapter(0x0483, 0x374B, "ST-LINK/V2-1 (STM32 Nucleo, Discovery)"),
    Adapter(0x0483, 0x3752, "ST-LINK/V2-1 without mass storage"),
    Adapter(0x0483, 0x374E, "STLINK-V3E (the field's interface board STM32H573I-DK has one too)"),
    Adapter(0x0483, 0x374F, "STLINK-V3S"),
    Adapter(0x0483, 0x3753, "STLINK-V3 with two serial ports"),
    Adapter(0x0483, 0x3754, "STLINK-V3 without mass storage"),
    Adapter(0x0483, 0x5740, "X-NUCLEO-LPM01A", "power"),
    Adapter(0x16D0, 0x10BA, "Joulescope JS220", "power"),
    Adapter(0x2341, 0x0001, "Arduino Uno", "interface"),
    Adapter(0x2341, 0x0043, "Arduino Uno R3", "interface"),
    Adapter(0x2A03, 0x0043, "Arduino Uno R3", "interface"),
    Adapter(0x2A03, 0x0243, "Arduino Uno R3", "interface"),
    Adapter(0x2341, 0x805A, "Arduino Nano 33 BLE"),
    Adapter(0x0D28, 0x0204, "DAPLink (Arm Mbed boards)"),
    Adapter(0x1366, 0x0105, "SEGGER J-Link on board (Silicon Labs, Nordic, Renesas and others)"),
    Adapter(0x1366, 0x1015, "SEGGER J-Link on board"),
    Adapter(0x1FC9, 0x0090, "NXP LPC-Link2"),
    Adapter(0x1FC9, 0x0143, "NXP MCU-Link"),
    Adapter(0x10C4, 0xEA60, "Silicon Labs CP210x"),
    Adapter(0x0403, 0x6001, "FTDI FT232R"),
    Adapter(0x0403, 0x6010, "FTDI FT2232"),
    Adapter(0x0403, 0x6011, "FTDI FT4232"),
    Adapter(0x0403, 0x6015, "FTDI FT231X"),
    Adapter(0x303A, 0x1001, "Espressif USB serial and JTAG"),
)
_BY_IDS = {(adapter.vendor_id, adapter.product_id): adapter for adapter in KNOWN_ADAPTERS}


@dataclass(frozen=True)
class Port:
    """A serial port of this computer; the ids are None if it is not on USB."""

    address: str
    vendor_id: int | None = None
    product_id: int | None = None
    serial_number: str = ""
    description: str = ""

    @property
    def adapter(self) -> Adapter | None:
        """What is known of the device behind it."""
        if self.vendor_id is None or self.product_id is None:
            return None
        return _BY_IDS.get((self.vendor_id, self.product_id))

    def __str__(self) -> str:
        if self.vendor_id is None or self.product_id is None:
            return self.address
        name = self.adapter.name if self.adapter else self.description or "unknown"
        return f"{self.address} ({name}, {self.vendor_id:04x}:{self.product_id:04x})"


@dataclass(frozen=True)
class Found:
    """A port and what answered there."""

    port: Port
    name: str
    model_id: str


def list_ports() -> tuple[Port, ...]:
    """The serial ports of this computer, by address.

    Raises:
        MissingExtraError: pyserial is not installed.
    """
    pyserial()
    ports = import_module("serial.tools.list_ports").comports()
    found = [
        Port(each.device, each.vid, each.pid, each.serial_number or "", each.description or "")
        for each in ports
    ]
    return tuple(sorted(found, key=lambda port: port.address))


def probe(port: Port, baud: int, timeout_s: float = PROBE_TIMEOUT_S) -> Found | str:
    """Who answers `name` and `profile` on a port, or why nobody does."""
    try:
        with closing(open_line(port.address, baud)) as line:
            met = Dut(line, command_timeout_s=timeout_s).hello(boot_timeout_s=timeout_s)
    except SystemFault as fault:
        return str(fault)
    return Found(port, met.name, met.model_id)


def find_board(
    model_id: str | None = None,
    baud: int = 115_200,
    ports: Sequence[Port] | None = None,
    timeout_s: float = PROBE_TIMEOUT_S,
) -> Found:
    """The one board that is plugged in, or the one with this model if there are several.

    Only ports on USB are asked, and not those of known energy monitors and interface boards: a
    command may mean something else to whatever is there.

    Args:
        model_id: The model it should have.
        baud: Its rate.
        ports: Where to look; default: all of this computer.
        timeout_s: How long each may take to answer.

    Raises:
        SystemFault: No board answers.
        UsageError: Several do, and none or more than one has the model.
    """
    every = list_ports() if ports is None else ports
    asked = [port for port in every if _may_be_a_board(port)]
    answers = [probe(port, baud, timeout_s) for port in asked]
    found = [answer for answer in answers if isinstance(answer, Found)]
    if not found:
        looked = "; ".join(f"{port}: {answer}" for port, answer in zip(asked, answers, strict=True))
        raise SystemFault(
            f"no board answers `name` at {baud} baud ({looked or 'no serial port on USB'}): plug one in, "
            f"flash it, or name its port with -s port=/dev/..."
        )
    fitting = [each for each in found if model_id is None or same_model(each.model_id, model_id)]
    if len(found) == 1:
        return found[0]
    if len(fitting) == 1:
        return fitting[0]
    several = ", ".join(f"{each.port} with {each.model_id}" for each in found)
    raise UsageError(f"several boards answer: {several}; choose one with -s port=ADDRESS")


def _may_be_a_board(port: Port) -> bool:
    if port.vendor_id is None:
        return False
    return port.adapter is None or port.adapter.role == "board"

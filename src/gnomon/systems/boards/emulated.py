"""Emulated Cortex-M boards: firmware made from the model, run by QEMU, which counts instructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gnomon.core.errors import UnknownNameError
from gnomon.device.board import Counts, Line
from gnomon.device.line import open_line
from gnomon.firmware.build import TARGETS, Image, build
from gnomon.firmware.emulate import EmulatedBoard as Emulation
from gnomon.firmware.emulate import instructions_per_us

QEMU_LOG = "qemu.log"


class EmulatedBoard:
    """A Cortex-M3, M4 or M7 in QEMU. Its figures are instructions, which are no latency of any part."""

    name = "emulated-board"
    counts: Counts = "instructions"

    def __init__(
        self, board: str = "mps2-an386", kernels: Literal["auto", "plain", "dsp"] = "auto"
    ) -> None:
        if board not in TARGETS:
            raise UnknownNameError("board", board, TARGETS)
        self._board = board
        self._kernels: Literal["auto", "plain", "dsp"] = kernels
        self._image: Image | None = None
        self._emulation: Emulation | None = None
        self.instructions_per_us = instructions_per_us()

    def connect(self, model_id: str, model: Path, folder: Path) -> Line:
        """Build the firmware into `folder`, start QEMU with it, and open its line.

        Raises:
            GnomonError: A tool is missing, or the model cannot run on the board.
            SystemFault: QEMU does not start.
        """
        self.close()
        self._image = build(model, self._board, folder, kernels=self._kernels, model_id=model_id)
        self._emulation = Emulation(self._image.elf, self._board, folder / QEMU_LOG)
        return open_line(self._emulation.address)

    def describe(self) -> dict[str, Any]:
        """Board, processor, kernels, and the memory that the firmware takes."""
        told: dict[str, Any] = {
            "kind": "emulated",
            "board": self._board,
            "processor": TARGETS[self._board].processor,
            "counts": self.counts,
        }
        image = self._image
        if image is not None:
            told |= {
                "kernels": image.kernels,
                "flash_bytes": image.flash_bytes,
                "ram_bytes": image.ram_bytes,
                "weights_bytes": image.weights_bytes,
                "arena_bytes": image.arena_bytes,
                "macs": image.macs,
            }
        return told

    def close(self) -> None:
        """End QEMU."""
        if self._emulation is not None:
            self._emulation.stop()
            self._emulation = None

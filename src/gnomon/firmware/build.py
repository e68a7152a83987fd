"""From an int8 `.tflite` to a board's image: C is written, compiled with GNU's Arm compiler and measured.

What an image holds is in `Image`: memory by use, and weights and arithmetic by layer.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from gnomon.core.errors import (
    BuildError,
    DataError,
    MissingToolError,
    SettingsError,
    UnknownNameError,
)
from gnomon.firmware.emit import Layer, Wire, emit
from gnomon.firmware.plan import Kernels
from gnomon.firmware.read import read_graph

C_SOURCES = Path(__file__).parent / "c"
DSP_KERNELS = C_SOURCES / "kernels_dsp.c"
COMPILER, SIZE_TOOL = "arm-none-eabi-gcc", "arm-none-eabi-size"
COMPILER_PACKAGES = "gcc-arm-none-eabi libnewlib-arm-none-eabi"
COMPILE_FLAGS = (
    *("-std=c11", "-O2", "-mthumb", "-ffunction-sections", "-fdata-sections"),
    *("-Wall", "-Wextra"),
)
LINK_FLAGS = ("-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections")
FLASH_BYTES = RAM_BYTES = 4 << 20


@dataclass(frozen=True)
class Target:
    """A board that images can be made for.

    Attributes:
        name: As QEMU calls the machine.
        processor: For people.
        flags: Of the compiler.
        dsp: Whether the processor has the instructions that the optimised kernels use.
    """

    name: str
    processor: str
    flags: tuple[str, ...]
    dsp: bool


TARGETS = {
    target.name: target
    for target in (
        Target("mps2-an385", "Cortex-M3", ("-mcpu=cortex-m3",), dsp=False),
        Target(
            "mps2-an386",
            "Cortex-M4",
            ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
            dsp=True,
        ),
        Target(
            "mps2-an500",
            "Cortex-M7",
            ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
            dsp=True,
        ),
    )
}


@dataclass(frozen=True)
class Image:
    """An image, and the memory that it takes.

    Attributes:
        elf: The file that is flashed or emulated.
        board: A name in `TARGETS`.
        model_id: What it answers to `profile`.
        kernels: `plain` or `dsp`.
        text_bytes: Code and constants, in flash memory.
        data_bytes: Variables with a first value, in both memories.
        bss_bytes: Variables that start at 0: the arena, and the protocol's few.
        arena_bytes: Activations, scratch memory and the input.
        payload_bytes: Bytes of one loaded input.
        layers: In the order they run.
    """

    elf: Path
    board: str
    model_id: str
    kernels: Kernels
    text_bytes: int
    data_bytes: int
    bss_bytes: int
    arena_bytes: int
    payload_bytes: int
    layers: tuple[Layer, ...]

    @property
    def flash_bytes(self) -> int:
        """What the image takes of flash memory."""
        return self.text_bytes + self.data_bytes

    @property
    def ram_bytes(self) -> int:
        """What it takes of RAM, its stack left out."""
        return self.data_bytes + self.bss_bytes

    @cached_property
    def weights_bytes(self) -> int:
        """Tables of all layers: weights, biases, multipliers."""
        return sum(layer.weights_bytes for layer in self.layers)

    @property
    def code_bytes(self) -> int:
        """Flash memory beside the layers' tables."""
        return self.flash_bytes - self.weights_bytes

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulate operations of one inference."""
        return sum(layer.macs for layer in self.layers)


def build(
    model: Path,
    board: str,
    folder: Path,
    *,
    kernels: Literal["auto", "plain", "dsp"] = "auto",
    model_id: str = "",
    wire: Wire | None = None,
    energy: bool = False,
    vendor: str = "",
) -> Image:
    """Make the image of a model for a board.

    Args:
        model: An int8 `.tflite`.
        board: A name in `TARGETS`.
        folder: Where `firmware.elf` and the sources written for it go; made if it is missing.
        kernels: `auto` takes the optimised ones where the processor has DSP instructions.
        model_id: `kws01` and so on; the file's name, if left out.
        wire: How an input travels; by `model_id`, if left out.
        energy: Timestamps are pulses on a pin, at 9600 baud, rather than text.
        vendor: What the board answers to `name`; the board's name, if left out.

    Raises:
        UnknownNameError: There is no such board.
        SettingsError: The kernels asked for do not run on it.
        DataError: The model is no model that the firmware can run, or too large for the board.
        MissingToolError: The compiler is missing.
        BuildError: The compiler refuses what was written, or it does not fit.
    """
    if board not in TARGETS:
        raise UnknownNameError("board", board, TARGETS)
    target = TARGETS[board]
    chosen = _chosen_kernels(kernels, target)
    model_id = model_id or model.stem
    source = emit(read_graph(model), model_id, kernels=chosen, wire=wire)
    if (
        source.arena_bytes > RAM_BYTES
        or sum(each.weights_bytes for each in source.layers) > FLASH_BYTES
    ):
        raise DataError(
            f"{model} is too large for {board}, which has 4 MiB of flash memory and of RAM"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.c").write_text(source.code)
    (folder / "model_size.h").write_text(source.header)
    elf = folder / "firmware.elf"
    defines = (
        f"-DGNOMON_ENERGY={int(energy)}",
        f'-DGNOMON_VENDOR="{_plain_text(vendor or board)}"',
    )
    compile_image([folder / "model.c", *firmware_sources(chosen)], target, elf, defines=defines)
    text_bytes, data_bytes, bss_bytes = section_sizes(elf)
    return Image(
        elf,
        board,
        model_id,
        chosen,
        text_bytes,
        data_bytes,
        bss_bytes,
        source.arena_bytes,
        source.payload_bytes,
        source.layers,
    )


def firmware_sources(kernels: Kernels) -> list[Path]:
    """The C sources of an image for MPS2 boards beside the model's own."""
    names = ["kernels_plain", "softmax", "protocol", "port_mps2", "startup"]
    if kernels == "dsp":
        names.append("kernels_dsp")
    return [C_SOURCES / f"{name}.c" for name in names]


def compile_image(
    sources: list[Path], target: Target, elf: Path, *, defines: tuple[str, ...] = ()
) -> None:
    """Compile and link C sources for a board of MPS2's memory map.

    Raises:
        MissingToolError: The compiler is missing.
        BuildError: It refuses the sources.
    """
    command = [
        *(_tool(COMPILER), *target.flags, *COMPILE_FLAGS, *LINK_FLAGS, *defines),
        *(f"-I{C_SOURCES}", f"-T{C_SOURCES / 'mps2.ld'}", "-o", str(elf)),
        *map(str, sources),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = next(
            (line for line in done.stderr.splitlines() if "error" in line or "overflowed" in line),
            done.stderr.strip(),
        )
        raise BuildError(f"{COMPILER} did not make {elf}: {complaint}")


def section_sizes(elf: Path) -> tuple[int, int, int]:
    """Bytes of text, data and bss.

    Raises:
        MissingToolError: The tool that counts them is missing.
    """
    done = subprocess.run([_tool(SIZE_TOOL), elf], capture_output=True, text=True, check=True)
    text, data, bss = (int(word) for word in done.stdout.splitlines()[1].split()[:3])
    return text, data, bss


def _chosen_kernels(asked: str, target: Target) -> Kernels:
    if asked not in ("auto", "plain", "dsp"):
        raise UnknownNameError("kernels", asked, ("auto", "plain", "dsp"))
    available = target.dsp and DSP_KERNELS.exists()
    if asked == "dsp" and not available:
        raise SettingsError(
            f"{target.name} has a {target.processor} without DSP instructions: use kernels plain"
        )
    return "dsp" if available and asked != "plain" else "plain"


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingToolError(name, COMPILER_PACKAGES, "building firmware")
    return found


def _plain_text(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in " -_.,:/+") else "_" for c in text)

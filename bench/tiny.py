"""Instructions per inference of the firmware's plain and optimised kernels, on emulated Cortex-M3, M4 and M7.

    python bench/tiny.py [MODEL.tflite ...] [--json FILE] [--layers]

Measures the models that ship, and any others named. Each image answers the field's serial protocol in QEMU,
which counts instructions (`-icount`): no latency of any part, but the same figure in every run. An inference
is what lies between two timestamps of `infer`; the bytes of its input are zeros.

The goal: on a Cortex-M4 the optimised kernels take at most a quarter of the instructions that a first, plain
prototype of this firmware took for the field's reference models, with the figures in `PROTOTYPE`; a model is
known by the letters that its name begins with. Where there is no such figure the plain kernels stand in for
it. `--layers` adds the Cortex-M4's layers one by one.

Needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm, and gnomon[tiny].
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import socket
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from machine import describe_machine

import gnomon
from gnomon.firmware.build import TARGETS, Image, build
from gnomon.firmware.emulate import EmulatedBoard, instructions_per_us

PROTOTYPE = {"kws": 28.6e6, "vww": 78.0e6, "ad": 1.68e6}
GOAL = 0.25
GOAL_BOARD = "mps2-an386"
INFERENCES = 4
SILENCE_S = 300.0
SHIPPED = Path(gnomon.__file__).parent / "data" / "tiny"


@dataclass(frozen=True)
class Row:
    """A model with one kind of kernels on one board.

    Attributes:
        plain_share: Its instructions, by those of the plain kernels on the same board.
        prototype_share: The same by the prototype's; None if there is no figure or this is not its board.
        layers: Name, instructions and multiply-accumulate operations of each layer; empty if not asked for.
    """

    model: str
    board: str
    processor: str
    kernels: str
    instructions: float
    macs: int
    plain_share: float
    prototype_share: float | None
    flash_bytes: int
    ram_bytes: int
    code_bytes: int
    layers: tuple[tuple[str, float, int], ...] = ()


def ask(line: socket.socket, command: str) -> str:
    """What a board says up to `m-ready`; no command, and it is what it says when it starts."""
    line.sendall(f"{command}%".encode() if command else b"")
    said = b""
    while not said.endswith(b"m-ready\r\n"):
        part = line.recv(4096)
        if not part:
            raise SystemExit(f"the board stopped at {command!r}: {said.decode(errors='replace')}")
        said += part
    return said.decode()


def count(
    image: Image, folder: Path, with_layers: bool
) -> tuple[float, tuple[tuple[str, float, int], ...]]:
    """Instructions of one inference, and of its layers."""
    per_us = instructions_per_us()
    with EmulatedBoard(image.elf, image.board, folder / "qemu.txt") as board:
        host, port = board.address.removeprefix("socket://").rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=SILENCE_S) as line:
            ask(line, "")
            began, ended = map(
                int, re.findall(r"m-lap-us-(\d+)", ask(line, f"infer {INFERENCES} 1"))
            )
            layers: tuple[tuple[str, float, int], ...] = ()
            if with_layers:
                # A tick of the board's timer is 1/25 us.
                ticks = re.findall(r"m-layer-\[\d+,([^,]+),(\d+)\]", ask(line, "layers"))
                layers = tuple(
                    (name, int(number) / 25 * per_us, layer.macs)
                    for (name, number), layer in zip(ticks, image.layers, strict=True)
                )
    return (ended - began) * per_us / INFERENCES, layers


def benchmark_of(model: Path) -> str:
    """The letters that a model's name begins with: the field's names do (`kws01`, `vww_96_int8`)."""
    return "".join(itertools.takewhile(str.isalpha, model.stem))


def measure(model: Path, folder: Path, with_layers: bool) -> list[Row]:
    """A model's rows, in the order of the boards, plain kernels first."""
    rows = []
    for target in TARGETS.values():
        plain = 0.0
        for kernels in ("plain", "dsp") if target.dsp else ("plain",):
            image = build(model, target.name, folder / target.name / kernels, kernels=kernels)
            on_goal_board = target.name == GOAL_BOARD
            instructions, layers = count(image, folder, with_layers and on_goal_board)
            plain = plain or instructions
            first = PROTOTYPE.get(benchmark_of(model)) if on_goal_board else None
            rows.append(
                Row(
                    model.stem,
                    target.name,
                    target.processor,
                    kernels,
                    instructions,
                    image.macs,
                    instructions / plain,
                    instructions / first if first else None,
                    image.flash_bytes,
                    image.ram_bytes,
                    image.code_bytes,
                    layers,
                )
            )
    return rows


def show(row: Row) -> None:
    """A row for people."""
    shares = f"{row.plain_share:.3f} of plain"
    if row.prototype_share is not None:
        shares += f", {row.prototype_share:.3f} of the prototype"
    if row.kernels == "dsp" and row.board == GOAL_BOARD:
        share = row.plain_share if row.prototype_share is None else row.prototype_share
        shares += f": goal {GOAL} {'met' if share <= GOAL else 'MISSED'}"
    print(
        f"{row.model:8} {row.processor:9} {row.kernels:5} {row.instructions / 1e6:8.3f} M "
        f"{row.instructions / row.macs:6.2f} a MAC  flash {row.flash_bytes / 1e3:6.1f} kB "
        f"(code {row.code_bytes / 1e3:4.1f})  RAM {row.ram_bytes / 1e3:6.1f} kB  {shares}"
    )
    for name, instructions, macs in row.layers:
        each = f"{instructions / macs:6.2f} a MAC" if macs else ""
        print(f"    {name:14} {instructions / 1e3:10.1f} k {each}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--layers", action="store_true")
    asked = parser.parse_args()
    machine = describe_machine()
    print(machine["text"])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for model in [*sorted(SHIPPED.glob("*.tflite")), *asked.models]:
            for row in measure(model, Path(folder), asked.layers):
                show(row)
                rows.append(row)
    if asked.json:
        found = {"machine": machine, "goal": GOAL, "rows": [asdict(row) for row in rows]}
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

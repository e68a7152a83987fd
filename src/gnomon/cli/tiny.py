"""`gnomon tiny`: boards that are there, firmware for them, submissions."""

from __future__ import annotations

import json as json_module
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from gnomon.firmware.build import Image

BAUD = 115_200

tiny = typer.Typer(no_args_is_help=True, help="Boards, firmware for them, and submissions.")


@tiny.command("boards")
def boards(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """What can be measured here: the host, emulated boards, and what is plugged in."""
    rows = [
        {"board": "host", "what": "a process of this computer", "ready": "yes"},
        *_emulated(),
        *_plugged(),
    ]
    if json:
        typer.echo(json_module.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("--board", "what", "ready", header_style="bold")
    for row in rows:
        table.add_row(row["board"], row["what"], row["ready"])
    Console().print(table)


def _emulated() -> list[dict[str, str]]:
    from gnomon.firmware.build import COMPILER, COMPILER_PACKAGES, TARGETS
    from gnomon.firmware.emulate import EMULATOR, EMULATOR_PACKAGES

    missing = [
        packages
        for tool, packages in ((COMPILER, COMPILER_PACKAGES), (EMULATOR, EMULATOR_PACKAGES))
        if shutil.which(tool) is None
    ]
    ready = f"needs: apt-get install {' '.join(missing)}" if missing else "yes"
    return [
        {"board": name, "what": f"emulated {target.processor}", "ready": ready}
        for name, target in TARGETS.items()
    ]


def _plugged() -> list[dict[str, str]]:
    from gnomon.core.errors import MissingExtraError
    from gnomon.device.discovery import Found, list_ports, probe

    try:
        ports = [port for port in list_ports() if port.vendor_id is not None]
    except MissingExtraError as error:
        return [{"board": "serial", "what": "what is plugged in", "ready": str(error)}]
    rows = []
    for port in ports:
        adapter = port.adapter
        what = adapter.name if adapter else port.description
        if adapter is not None and adapter.role != "board":
            rows.append({"board": port.address, "what": what, "ready": f"no board: {adapter.role}"})
            continue
        found = probe(port, BAUD)
        ready = f"yes: {found.name}, {found.model_id}" if isinstance(found, Found) else found
        rows.append({"board": port.address, "what": what, "ready": ready})
    return rows


@tiny.command("build")
def build(
    model: Annotated[Path, typer.Argument(help="An int8 .tflite.")],
    board: Annotated[
        str, typer.Option(help="mps2-an385 (Cortex-M3), mps2-an386 (M4) or mps2-an500 (M7).")
    ] = "mps2-an386",
    out: Annotated[Path, typer.Option(help="Where the image and its sources go.")] = Path(
        "firmware"
    ),
    kernels: Annotated[
        str, typer.Option(help="dsp, plain, or auto for the best that the processor runs.")
    ] = "auto",
    model_id: Annotated[
        str,
        typer.Option(help="What the board calls its model, e.g. kws01. Default: the file's name."),
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Make a board's firmware from a model, and say what memory it takes."""
    from gnomon.firmware.build import build as make

    image = make(model, board, out, kernels=kernels, model_id=model_id)  # type: ignore[arg-type]
    if json:
        typer.echo(json_module.dumps(_as_json(image), indent=2))
        return
    _print(image)


def _as_json(image: Image) -> dict[str, Any]:
    return {
        "elf": str(image.elf),
        "board": image.board,
        "model_id": image.model_id,
        "kernels": image.kernels,
        "flash_bytes": image.flash_bytes,
        "ram_bytes": image.ram_bytes,
        "weights_bytes": image.weights_bytes,
        "code_bytes": image.code_bytes,
        "arena_bytes": image.arena_bytes,
        "macs": image.macs,
        "layers": [
            {
                "name": layer.name,
                "weights_bytes": layer.weights_bytes,
                "ram_bytes": layer.ram_bytes,
                "macs": layer.macs,
            }
            for layer in image.layers
        ],
    }


def _print(image: Image) -> None:
    from rich.console import Console
    from rich.table import Table

    from gnomon.core.units import format_bytes, format_count

    console = Console()
    table = Table("layer", header_style="bold")
    table.add_column("weights (flash)", justify="right")
    table.add_column("RAM in use", justify="right")
    table.add_column("multiply-accumulates", justify="right")
    for layer in image.layers:
        table.add_row(
            layer.name,
            format_bytes(layer.weights_bytes),
            format_bytes(layer.ram_bytes),
            format_count(layer.macs),
        )
    console.print(table)
    console.print(
        f"flash {format_bytes(image.flash_bytes)}, of which weights {format_bytes(image.weights_bytes)}; "
        f"RAM {format_bytes(image.ram_bytes)}, of which activations {format_bytes(image.arena_bytes)}",
        highlight=False,
    )
    console.print(f"{image.kernels} kernels for {image.board}: {image.elf}", highlight=False)


@tiny.command("trace")
def trace(
    energy: Annotated[Path, typer.Argument(help="trace1-energy.bin")],
    timestamps: Annotated[Path, typer.Argument(help="trace1-timestamps.json")],
    iterations: Annotated[
        list[int], typer.Option(help="Inferences of a window; once for all, or once for each.")
    ],
    rule: Annotated[
        str,
        typer.Option(
            help="Samples at a window's ends: running-sum, as published results are made; nearest, as the "
            "MLCommons runner has it; split, in proportion."
        ),
    ] = "running-sum",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Joules per inference from an energy trace in EEMBC's format."""
    from typing import get_args

    from gnomon.core.energy import BoundaryRule, measure_windows, windows_between
    from gnomon.core.errors import UnknownNameError
    from gnomon.device.trace_file import read_timestamps, read_trace

    if rule not in get_args(BoundaryRule):
        raise UnknownNameError("rule", rule, get_args(BoundaryRule))
    times_s = read_timestamps(timestamps)
    counts = iterations if len(iterations) > 1 else iterations * (len(times_s) // 2)
    figures = measure_windows(read_trace(energy), windows_between(times_s, counts), rule)  # type: ignore[arg-type]
    if json:
        told = {
            "energy_uj": [1e6 * energy_j for energy_j in figures.energy_j],
            "uj_per_inference": list(figures.uj_per_inference),
            "median_uj_per_inference": figures.median_uj_per_inference,
            "rule": rule,
        }
        typer.echo(json_module.dumps(told, indent=2))
        return
    for number, (each, cost_uj) in enumerate(
        zip(figures.windows, figures.uj_per_inference, strict=True), 1
    ):
        typer.echo(
            f"window {number}: {each.duration_s:.3f} s, {each.iterations} inferences, {cost_uj:.3f} µJ each"
        )
    typer.echo(f"median {figures.median_uj_per_inference:.3f} µJ per inference")


@tiny.command("submission")
def submission(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Runs of the system: folders, or starts of names.")
    ] = None,
    system: Annotated[
        Path | None, typer.Option(help="The system's description, as the field's JSON.")
    ] = None,
    name: Annotated[str, typer.Option(help="How the system's files are called.")] = "system",
    out: Annotated[Path, typer.Option(help="Where the submission goes.")] = Path("submission"),
    runner: Annotated[
        str, typer.Option(help="Whose files are written: mlcommons or eembc.")
    ] = "mlcommons",
    code: Annotated[
        Path | None, typer.Option(help="Copied to code/, which a submission has to have.")
    ] = None,
    example: Annotated[
        Path | None, typer.Option(help="Write a description to edit, and nothing else.")
    ] = None,
) -> None:
    """Write a submission folder from runs, and hold it to the rules.

    Exits with 0 if nothing keeps it out, 1 if something does.
    """
    from gnomon.core.errors import SettingsError, UnknownNameError
    from gnomon.core.files import write_atomically
    from gnomon.core.task import make_task
    from gnomon.device.submission import FILES, write_submission
    from gnomon.device.submit import read_system, system_example, tests_of
    from gnomon.device.task import require_tiny
    from gnomon.results.locate import load

    if example is not None:
        write_atomically(example, system_example().encode())
        typer.echo(f"fill in {example}, then: gnomon tiny submission RUN --system {example}")
        return
    if not runs or system is None:
        raise SettingsError(
            "a submission needs runs and --system FILE: --example FILE writes one to fill in"
        )
    if runner not in FILES:
        raise UnknownNameError("runner", runner, FILES)
    tests = []
    for given in runs:
        run = load(given)
        task = make_task(run.record["benchmark"]["task"], run.record.get("data_path"))
        tests += tests_of(run, require_tiny(task))
    top = write_submission(out, read_system(system), name, tests, runner=runner, code=code)
    typer.echo(f"{top}: {len(tests)} tests")
    _verify(out)


@tiny.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(help="Of a submission: has closed/ or open/ in it.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Hold a submission folder to the field's rules.

    Exits with 0 if nothing keeps it out, 1 if something does.
    """
    _verify(folder, json=json)


def _verify(folder: Path, *, json: bool = False) -> None:
    from gnomon.device.submission_rules import verify_submission

    problems = verify_submission(folder)
    blocking = [problem for problem in problems if problem.blocking]
    if json:
        typer.echo(
            json_module.dumps(
                [vars(each) | {"path": str(each.path)} for each in problems], indent=2
            )
        )
    else:
        for problem in problems:
            typer.echo(f"{'✗' if problem.blocking else '!'} {problem}")
        typer.echo(
            f"{len(blocking)} problems keep it out" if blocking else "nothing keeps it out",
        )
    if blocking:
        raise typer.Exit(1)

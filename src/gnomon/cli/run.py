"""`gnomon run`: measure a benchmark on a system, print the verdict, write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gnomon.cli import federated_options as fed
from gnomon.cli import mobile_options as mobile
from gnomon.cli import tiny_options as tiny
from gnomon.cli import training_options as training
from gnomon.cli.asked import (
    asked_system,
    benchmark_asked,
    given_options,
    protocol_of,
    runs_asked,
    those_with_models,
)
from gnomon.cli.ending import end_with, watched
from gnomon.cli.interrupted import Series, end_before_a_run, end_interrupted
from gnomon.cli.progress import announce
from gnomon.core.registry import BENCHMARKS, SYSTEMS
from gnomon.core.run import Run, find_runs


def _benchmark_names(incomplete: str) -> list[str]:
    return [name for name in BENCHMARKS.names() if name.startswith(incomplete)]


def _system_names(incomplete: str) -> list[str]:
    return [name for name in SYSTEMS.names() if name.startswith(incomplete)]


SCENARIO = "What to measure"
LOAD = "Load"
SYSTEM = "System"
OUTPUT = "Output"


def run(
    context: typer.Context,
    benchmark: Annotated[
        str,
        typer.Argument(help="What to measure; see `gnomon list`.", autocompletion=_benchmark_names),
    ] = "digits",
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="single-stream, multi-stream, server or offline; may be repeated. Default: the "
            "benchmark's own.",
            rich_help_panel=SCENARIO,
        ),
    ] = None,
    rules: Annotated[
        str,
        typer.Option(
            help="quick, or official for the field's own minimums. Mobile: quick, normal or submission.",
            rich_help_panel=SCENARIO,
        ),
    ] = "quick",
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="The shortest tests the rules accept.", rich_help_panel=SCENARIO
        ),
    ] = False,
    performance: Annotated[
        bool,
        typer.Option(
            "--performance/--no-performance",
            rich_help_panel=SCENARIO,
            help="Run the performance tests.",
        ),
    ] = True,
    accuracy: Annotated[
        bool,
        typer.Option(
            "--accuracy/--no-accuracy", rich_help_panel=SCENARIO, help="Run the accuracy test."
        ),
    ] = True,
    target_qps: Annotated[
        float | None,
        typer.Option(
            help="Server: queries per second. Left out, the highest valid rate is found. "
            "Offline: may ask for more samples; not needed.",
            rich_help_panel=LOAD,
        ),
    ] = None,
    find_peak: Annotated[
        bool,
        typer.Option(
            "--find-peak", help="Server: find the highest valid rate.", rich_help_panel=LOAD
        ),
    ] = False,
    target_latency: Annotated[
        float | None, typer.Option(help="Server: latency bound in ms.", rich_help_panel=LOAD)
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(help="Least duration of a performance test in seconds.", rich_help_panel=LOAD),
    ] = None,
    max_duration: Annotated[
        float | None,
        typer.Option(
            help="End a test after so many seconds (it is then INVALID). Federated: seconds of the fleet's "
            "clock that may be spent.",
            rich_help_panel=LOAD,
        ),
    ] = None,
    min_query_count: Annotated[
        int | None,
        typer.Option(help="Least number of queries; Offline: of samples.", rich_help_panel=LOAD),
    ] = None,
    max_query_count: Annotated[
        int | None,
        typer.Option(
            help="End a test after so many queries (it is then INVALID).", rich_help_panel=LOAD
        ),
    ] = None,
    samples_per_query: Annotated[
        int | None, typer.Option(help="MultiStream: samples in a query.", rich_help_panel=LOAD)
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="QSL,SAMPLE_INDEX,SCHEDULE: three whole numbers.", rich_help_panel=LOAD),
    ] = None,
    coalesce: Annotated[
        bool,
        typer.Option(
            "--coalesce",
            help="Server: hand all queries due by now to an asynchronous system as one.",
            rich_help_panel=LOAD,
        ),
    ] = False,
    max_async_queries: Annotated[
        int,
        typer.Option(
            help="Server: end the test when more are outstanding; 0: no bound.",
            rich_help_panel=LOAD,
        ),
    ] = 0,
    concatenate_permutation: Annotated[
        bool,
        typer.Option(
            "--concatenate-permutation",
            rich_help_panel=LOAD,
            help="Issue every sample equally often (for inputs of uneven size).",
        ),
    ] = False,
    issue_unique: Annotated[
        bool, typer.Option("--issue-unique", help="Issue each sample once.", rich_help_panel=LOAD)
    ] = False,
    issue_same: Annotated[
        bool,
        typer.Option("--issue-same", help="Issue one sample over and over.", rich_help_panel=LOAD),
    ] = False,
    issue_same_index: Annotated[
        int, typer.Option(help="Which of the loaded samples.", rich_help_panel=LOAD)
    ] = 0,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            help="An mlperf.conf or user.conf; may be repeated, later files win.",
            rich_help_panel=LOAD,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Threads that call a synchronous system.", rich_help_panel=LOAD)
    ] = 1,
    stall_timeout: Annotated[
        float,
        typer.Option(
            help="Stop when nothing was answered for so many seconds.", rich_help_panel=LOAD
        ),
    ] = 60.0,
    system: Annotated[
        str | None,
        typer.Option(
            help="What to measure it on; see `gnomon list`. Several, separated by commas, are measured one "
            "after the other and put in one table.",
            rich_help_panel=SYSTEM,
            autocompletion=_system_names,
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="A model of your own: a file, or for dlrm a folder. Federated: logistic or cnn.",
            rich_help_panel=SYSTEM,
        ),
    ] = None,
    embedding: Annotated[
        list[str] | None,
        typer.Option(
            help="dlrm: robe, or full tables. Given twice, both are measured, one after the other, and "
            "compared.",
            rich_help_panel=SYSTEM,
        ),
    ] = None,
    compression: Annotated[
        int | None,
        typer.Option(
            help="dlrm: how many times smaller than the full tables the ROBE array is.",
            rich_help_panel=SYSTEM,
        ),
    ] = None,
    system_option: Annotated[
        list[str] | None,
        typer.Option(
            "--system-option",
            "-s",
            metavar="NAME=VALUE",
            rich_help_panel=SYSTEM,
            help="Passed to the system, e.g. threads=2; may be repeated.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Data of your own: a file or a folder, for a benchmark that takes one.",
            rich_help_panel=SYSTEM,
        ),
    ] = None,
    precision: mobile.Precision = None,
    task_file: mobile.TaskFile = None,
    cooldown: mobile.Cooldown = None,
    board: tiny.Board = None,
    energy: tiny.Energy = None,
    iterations: tiny.Iterations = None,
    warmups: tiny.Warmups = None,
    runs: training.Runs = None,
    set_: training.Set = None,
    processes: training.Processes = None,
    nodes: training.Nodes = None,
    rendezvous: training.Rendezvous = None,
    cluster: training.Cluster = None,
    max_epochs: training.MaxEpochs = None,
    patience: training.Patience = None,
    gamma: fed.Gamma = None,
    controller: fed.Controller = None,
    target_loss: fed.TargetLoss = None,
    max_rounds: fed.MaxRounds = None,
    max_energy: fed.MaxEnergy = None,
    grid: fed.Grid = None,
    seed: fed.Seed = None,
    clients: fed.Clients = None,
    partition: fed.Partition = None,
    data_seed: fed.DataSeed = None,
    devices: fed.Devices = None,
    availability: fed.Availability = None,
    availability_block: fed.AvailabilityBlock = None,
    availability_trace: fed.AvailabilityTrace = None,
    dropout: fed.Dropout = None,
    slowdown_sigma: fed.SlowdownSigma = None,
    max_local_iterations: fed.MaxLocalIterations = None,
    batch_size: fed.BatchSize = None,
    learning_rate: fed.LearningRate = None,
    decay: fed.Decay = None,
    regularisation: fed.Regularisation = None,
    proximal: fed.Proximal = None,
    sampling: fed.Sampling = None,
    over_selection: fed.OverSelection = None,
    deadline: fed.Deadline = None,
    aggregation: fed.Aggregation = None,
    server_optimizer: fed.ServerOptimizer = None,
    max_update_norm: fed.MaxUpdateNorm = None,
    clip_norm: fed.ClipNorm = None,
    noise_multiplier: fed.NoiseMultiplier = None,
    evaluate_every: fed.EvaluateEvery = None,
    concurrency: fed.Concurrency = None,
    staleness_power: fed.StalenessPower = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.", rich_help_panel=OUTPUT)] = Path(
        "runs"
    ),
    report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report",
            help="Write report.html into the run folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = True,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of a table.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Measure a benchmark on a system.

    Exits with 0 if the run is VALID under its rules, 1 if it is INVALID, 2 if it was asked for
    something that cannot be done. Ctrl-C keeps what was measured and marks the run aborted.
    """
    from gnomon.core.execute import run as carry_out

    try:
        chosen = benchmark_asked(benchmark, task_file, data, model)
        protocol = protocol_of(chosen.benchmark)
        options = given_options(context, benchmark, protocol)
        system, system_options = asked_system(protocol, system, board, system_option or [])
        if chosen.model is not None and "model" not in protocol.options.model_fields:
            system_options["model"] = chosen.model
        asked = runs_asked(system, system_options, precision, embedding, compression)
        wanted, left_out = those_with_models(chosen.benchmark, chosen.data, asked)
        series = Series(chosen.benchmark, wanted, left_out, out, frozenset(find_runs(out)))
    except KeyboardInterrupt:
        end_before_a_run()
    finished: list[Run] = []
    try:
        with watched() as line:
            for number, each in enumerate(wanted, start=1):
                if len(wanted) > 1:
                    announce(line, f"{number} of {len(wanted)}: {each.label}")
                finished.append(
                    carry_out(
                        chosen.benchmark,
                        system=each.system,
                        system_options=each.options,
                        data=chosen.data,
                        out=out,
                        observer=line,
                        **options,
                    )
                )
        end_with(finished, report=report, json=json, left_out=left_out)
    except KeyboardInterrupt:
        end_interrupted(context, series, finished, json=json)

"""Training logs read, checked and scored: 1 GB in all, and beside mlperf-logging on a smaller folder.

    python bench/training_logs.py [--gigabytes 1] [--rounds 3] [--json bench/results/training_logs.json]

A folder holds five runs; of its bytes about six in ten are `:::MLLOG` lines of 200 to 250 bytes (throughput
and statistics, as published logs have them) and the rest is plain text. "Score" is everything from the files
to the olympic mean, rules included. Beside mlperf-logging both read the same files, in turn; ours once by one
process, which is what the ratio of the parsers is of.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import describe_machine

from gnomon.core.environment import processors
from gnomon.timetotrain.logs import format_training_line, read_log, score_folder, training_entry

RUNS = 5
START_MS = 1_760_000_000_000
HYPERPARAMETERS = {
    "global_batch_size": 32,
    "opt_name": "adam",
    "opt_base_learning_rate": 1e-3,
    "opt_weight_decay": 0.0,
    "opt_learning_rate_warmup_epochs": 1,
    "opt_learning_rate_warmup_factor": 0.1,
    "gradient_accumulation_steps": 1,
    "train_samples": 1_170_301,
    "eval_samples": 24_781,
}
TEXT = (
    "0: [2025-10-09 11:07:58] INFO step {step:9} loss 0.12877 lr 0.0038 grad norm 1.24 tokens/s "
    "519520.73 eta 01:22:11 memory 61.2 GB allocated 71 GB reserved"
)


def line(key: str, value: Any = None, time_ms: int = START_MS, **metadata: Any) -> str:
    entry = training_entry(
        key, value, time_ms=time_ms, file="/workspace/train.py", lineno=847, metadata=metadata
    )
    return f"0: {format_training_line(entry)}\n"


def write_run(path: Path, size: int, seed: int) -> None:
    """One run of round 5.1's retinanet, with statistics and text between its epochs."""
    submission = {
        "submission_benchmark": "retinanet",
        "submission_org": "an organisation",
        "submission_division": "closed",
        "submission_platform": "one machine",
        "cache_clear": True,
        "init_start": None,
        "seed": seed,
    }
    with path.open("w") as file:
        file.writelines(line(key, value) for key, value in (submission | HYPERPARAMETERS).items())
        file.write(line("init_stop") + line("run_start"))
        step, epochs = 0, 10
        for epoch in range(1, epochs + 1):
            now_ms = START_MS + 60_000 * epoch
            file.write(line("epoch_start", None, now_ms, epoch_num=epoch))
            while file.tell() < size * epoch // epochs:
                parts = []
                for _ in range(1000):
                    step += 1
                    rate = {"throughput": 20_416_725.086 + step, "step_time": 0.0271}
                    parts.append(line("tracked_stats", rate, now_ms, epoch_num=epoch, step=step))
                    parts.append(TEXT.format(step=step) + "\n")
                file.write("".join(parts))
            file.write(line("epoch_stop", None, now_ms, epoch_num=epoch))
            file.write(line("eval_start", None, now_ms, epoch_num=epoch))
            file.write(line("eval_accuracy", 0.0342 * epoch, now_ms, epoch_num=epoch))
            file.write(line("eval_stop", None, now_ms, epoch_num=epoch))
        file.write(line("run_stop", None, START_MS + 600_000 + 1000 * seed, status="success"))


def write_folder(folder: Path, size: int) -> Path:
    folder.mkdir(parents=True)
    for run in range(RUNS):
        write_run(folder / f"result_{run}.txt", size // RUNS, run)
    return folder


def seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall-clock and processor seconds of one call; the latter of this process and those it started."""
    wall, before = time.perf_counter(), processor_s()
    call()
    return time.perf_counter() - wall, processor_s() - before


def processor_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def beside_reference(folder: Path, rounds: int) -> dict[str, Any]:
    """Both parsers on one file and both scorers on the folder, in turn; medians and ratios."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    from mlperf_logging.compliance_checker.mlp_parser import parse_file
    from mlperf_logging.result_summarizer import result_summarizer

    file = folder / "result_0.txt"

    def reference_score() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            result_summarizer._compute_strong_score_standalone(
                "retinanet", "system", False, str(folder), "training", "5.1.0"
            )

    calls: dict[str, Callable[[], Any]] = {
        "parse, every entry kept": lambda: read_log(file, workers=1),
        "parse, the rules' entries kept": lambda: read_log(file, HYPERPARAMETERS, workers=1),
        "parse, mlperf-logging": lambda: parse_file(str(file), "5.1.0"),
        "score": lambda: score_folder(folder),
        "score, mlperf-logging": reference_score,
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(seconds(call)[0])
    medians = {name: statistics.median(times) for name, times in taken.items()}

    def ratio(slow: str, fast: str) -> float:
        pairs = zip(taken[slow], taken[fast], strict=True)
        return statistics.median(one / other for one, other in pairs)

    return {
        "file_bytes": file.stat().st_size,
        "seconds": medians,
        "times_faster": {
            "parse, every entry kept": ratio("parse, mlperf-logging", "parse, every entry kept"),
            "parse, the rules' entries kept": ratio(
                "parse, mlperf-logging", "parse, the rules' entries kept"
            ),
            "score": ratio("score, mlperf-logging", "score"),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--megabytes-beside", type=float, default=50.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    machine = describe_machine()
    print(machine["text"])
    with tempfile.TemporaryDirectory() as made:
        big = write_folder(Path(made) / "big" / "retinanet", int(arguments.gigabytes * 1e9))
        size = sum(path.stat().st_size for path in big.iterdir())
        score = score_folder(big)
        if score.minutes is None:
            raise SystemExit(f"the folder does not score: {score.reason}")
        scored = [seconds(lambda: score_folder(big)) for _ in range(arguments.rounds)]
        walls = [wall for wall, _ in scored]
        needed = statistics.median(processor for _, processor in scored)
        alone = [
            seconds(lambda: [read_log(path, HYPERPARAMETERS, workers=1) for path in big.iterdir()])
            for _ in range(arguments.rounds)
        ]
        spent = statistics.median(processor for _, processor in alone)
        print(
            f"{size / 1e9:.2f} GB scored in {statistics.median(walls):.2f} s with {processors()} "
            f"processes ({', '.join(f'{wall:.2f}' for wall in walls)}), which needs {needed:.2f} "
            f"processor seconds; read by one process in {spent:.2f}, {size / spent / 1e6:.0f} MB/s"
        )
        small = write_folder(
            Path(made) / "small" / "retinanet", int(arguments.megabytes_beside * 1e6)
        )
        beside = beside_reference(small, arguments.rounds)
        for name, median in beside["seconds"].items():
            print(f"    {name:36} {median:8.3f} s")
        for name, times in beside["times_faster"].items():
            print(f"    {name:36} {times:8.2f} times as fast as mlperf-logging")
    if arguments.json:
        record = {
            "machine": machine,
            "score_bytes": size,
            "score_s": walls,
            "score_processor_s": needed,
            "processes": processors(),
            "one_process_processor_s": spent,
            "beside_mlperf_logging": beside,
        }
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()

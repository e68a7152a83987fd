"""Whole training logs of a short run, good ones and ones with a defect, and a folder of them."""

from __future__ import annotations

from pathlib import Path

from gnomon.timetotrain.logs import format_training_line, training_entry

START_MS = 1_760_000_000_000  # October 2025: round 5.1
RETINANET = {
    "global_batch_size": 32,
    "opt_name": "adam",
    "opt_base_learning_rate": 1e-3,
    "opt_weight_decay": 0.0,
    "opt_learning_rate_warmup_epochs": 1,
    "opt_learning_rate_warmup_factor": 0.1,
    "gradient_accumulation_steps": 1,
    "train_samples": 1000,
    "eval_samples": 200,
}


def run_entries(
    benchmark="retinanet",
    *,
    seed=1,
    minutes=10.0,
    qualities=(0.1, 0.2, 0.345),
    status="success",
    division="closed",
    start_ms=START_MS,
    init_s=60,
    hyperparameters=RETINANET,
    without=(),
    **values,
):
    """The entries of one run; `without` leaves keys out, `values` replaces the values of others."""
    entries = []
    now_ms = start_ms

    def log(key, value=None, after_ms=10, **metadata):
        nonlocal now_ms
        now_ms += after_ms
        if key not in without:
            value = values.get(key, value)
            lineno = {"seed": 12}.get(key, 20 + len(entries))
            entries.append(
                training_entry(
                    key, value, time_ms=now_ms, file="train.py", lineno=lineno, metadata=metadata
                )
            )

    log("submission_benchmark", benchmark)
    log("submission_org", "an organisation")
    log("submission_division", division)
    log("submission_platform", "one processor")
    log("cache_clear", True)
    log("init_start")
    log("seed", seed)
    for key, value in hyperparameters.items():
        log(key, value)
    log("init_stop", after_ms=int(init_s * 1000))
    log("run_start", after_ms=0)
    each_ms = int(minutes * 60_000 / len(qualities)) if qualities else 0
    for epoch, quality in enumerate(qualities, start=1):
        log("epoch_start", after_ms=0, epoch_num=epoch)
        log("epoch_stop", after_ms=each_ms, epoch_num=epoch)
        log("eval_start", after_ms=0, epoch_num=epoch)
        log("eval_accuracy", quality, after_ms=0, epoch_num=epoch)
        log("eval_stop", after_ms=0, epoch_num=epoch)
    log("run_stop", after_ms=0, status=status)
    return entries


def save(path: Path, entries) -> None:
    """Write a log without waiting for the disk."""
    path.write_text("".join(f"{format_training_line(entry)}\n" for entry in entries))


def write_folder(folder: Path, minutes=(10, 11, 12, 13, 20), benchmark="retinanet", **more):
    """A folder of runs with different seeds, of these lengths; infinity for one that does not converge."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, length in enumerate(minutes):
        failed = length == float("inf")
        run = {"seed": number + 1, "minutes": 30 if failed else length, **more}
        if failed:
            run["qualities"] = (0.1, 0.2, 0.3)
        save(folder / f"result_{number}.txt", run_entries(benchmark, **run))
    return folder

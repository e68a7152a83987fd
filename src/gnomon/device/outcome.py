"""From windows and answers to the figures of a result."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from gnomon.core.energy import EnergyFigures
from gnomon.core.spec import QualityTarget
from gnomon.device.board import Counts
from gnomon.device.record import Inferred, Window
from gnomon.device.task import TinyTask


def performance(
    windows: Sequence[Window], counts: Counts, instructions_per_us: float
) -> dict[str, Any]:
    """The result of timed windows: the median of their rates, as the field scores it.

    A board that counts instructions gets instructions per inference, and neither a rate nor a latency.
    """
    per_inference_us = [(each.end_us - each.start_us) / each.iterations for each in windows]
    median_us = statistics.median(per_inference_us)
    spread = (max(per_inference_us) - min(per_inference_us)) / median_us if median_us else 0.0
    result: dict[str, Any] = {
        "window_count": len(windows),
        "iterations": [each.iterations for each in windows],
        "window_s": [each.duration_s for each in windows],
        "spread": spread,
        "duration_ns": sum(1000 * (each.end_us - each.start_us) for each in windows),
        "sample_count": sum(each.iterations for each in windows),
    }
    if counts == "instructions":
        instructions = [each * instructions_per_us for each in per_inference_us]
        return result | {
            "metric": {
                "name": "instructions per inference",
                "value": statistics.median(instructions),
                "unit": "instructions",
            },
            "by_window": instructions,
        }
    rates = [each.inferences_per_s for each in windows]
    return result | {
        "metric": {
            "name": "median throughput",
            "value": statistics.median(rates),
            "unit": "inferences/s",
        },
        "latency_ns": 1000 * median_us,
        "by_window": rates,
    }


def accuracy(
    inferred: Sequence[Inferred], task: TinyTask, target: QualityTarget
) -> dict[str, Any] | None:
    """The result of inferring the data set, of the samples that are whole; None if there is none."""
    samples, outputs = answers_of(inferred, task)
    if not samples:
        return None
    quality = float(task.score(np.asarray(samples, dtype=np.int64), outputs))
    return {
        "metric": {"name": task.metric, "value": quality, "unit": task.unit},
        "quality": quality,
        "target": target.threshold,
        "sample_count": len(samples),
        "inference_count": len(inferred),
    }


def energy(measured: EnergyFigures, timed: dict[str, Any]) -> dict[str, Any]:
    """The result of windows with a monitor: the median of microjoules per inference, as the field has it."""
    return {
        "metric": {
            "name": "median energy per inference",
            "value": measured.median_uj_per_inference,
            "unit": "µJ",
        },
        "by_window": list(measured.uj_per_inference),
        "energy_j": list(measured.energy_j),
        "lost_samples": list(measured.lost_samples),
        "timed": timed,
        "sample_count": timed["sample_count"],
    }


def answers_of(inferred: Sequence[Inferred], task: TinyTask) -> tuple[list[int], list[Any]]:
    """Samples of which every payload was inferred, and the task's answers to them."""
    by_sample: dict[int, dict[int, Any]] = {}
    for each in inferred:
        by_sample.setdefault(each.sample, {})[each.payload] = each.results
    samples, answers = [], []
    for sample, results in sorted(by_sample.items()):
        wanted = len(task.payloads(sample))
        if sorted(results) == list(range(wanted)):
            samples.append(sample)
            answers.append(task.answer([results[place] for place in range(wanted)]))
    return samples, answers

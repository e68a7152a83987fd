"""What a sweep shows, computed from its finished trainings alone: AUC over seeds, sizes, times to target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

from gnomon.recommend.recipe import Variant
from gnomon.recommend.sweep_folder import FinishedRun, SweepState

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Some figures, one a seed, as one.

    Attributes:
        mean: Their mean.
        deviation: Their sample standard deviation; None for one figure.
        half_width: Of Student's t interval for the mean at 95 %; None for one figure.
        count: How many there are.
    """

    mean: float
    deviation: float | None
    half_width: float | None
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard deviation and t interval of at least one figure."""
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return Spread(mean, None, None, count)
    deviation = float(np.std(values, ddof=1))
    quantile = float(special.stdtrit(count - 1, 0.5 + CONFIDENCE / 2))
    return Spread(mean, deviation, quantile * deviation / count**0.5, count)


@dataclass(frozen=True)
class VariantSummary:
    """One variant over its finished seeds.

    Attributes:
        variant: Which.
        seeds: Finished, in order.
        weights: Trained weights of the embedding.
        embedding_bytes: Memory of them.
        compression: As reached: weights of the full tables over these.
        by_epoch: AUC at the end of each epoch that every seed has come to.
        best_epoch: The epoch, from 1, with the highest mean; 0 if every seed stopped at the target before.
        best: AUC there; without it, where each seed stopped.
        against_full: `best` minus that of the full tables, seed by seed: paired, so that what seeds have in
            common falls out. None without full tables.
        reached: Seeds that reached the target.
        time_to_target: Seconds of training over those seeds.
        time_to_target_with_evaluation: The same with the evaluations on the way.
        training: Seconds of training in all.
    """

    variant: Variant
    seeds: tuple[int, ...]
    weights: int
    embedding_bytes: int
    compression: float
    by_epoch: tuple[Spread, ...]
    best_epoch: int
    best: Spread
    against_full: Spread | None
    reached: int
    time_to_target: Spread | None
    time_to_target_with_evaluation: Spread | None
    training: Spread

    def as_dict(self) -> dict[str, Any]:
        """Every attribute, ready for JSON."""
        stored = asdict(self) | {"name": self.variant.name, "variant": self.variant.as_dict()}
        return stored | {"seeds": list(self.seeds)}


@dataclass(frozen=True)
class SweepSummary:
    """A sweep at a glance.

    Attributes:
        variants: Those with at least one finished seed, in the order of the plan.
        finished: Finished trainings.
        planned: Trainings asked for.
        epochs: Passes of each.
        target: The AUC asked for, if any.
        bayes_auc: The best AUC that any model can expect, if it is known.
        data: What the samples are, in words.
        official: Whether they are the official data set.
        surroundings: Different machines, and numbers of trainings side by side, that took part: with more
            than one, times do not compare.
    """

    variants: tuple[VariantSummary, ...]
    finished: int
    planned: int
    epochs: int
    target: float | None
    bayes_auc: float | None
    data: str
    official: bool
    surroundings: int

    def as_dict(self) -> dict[str, Any]:
        """Every attribute, ready for JSON."""
        return asdict(self) | {"variants": [found.as_dict() for found in self.variants]}


def summarise(sweep: SweepState) -> SweepSummary:
    """The figures of every variant with a finished seed."""
    runs: dict[Variant, list[FinishedRun]] = {}
    for run in sweep.runs:
        runs.setdefault(run.variant, []).append(run)
    full = next((found for variant, found in runs.items() if variant.kind == "full"), [])
    baseline = _best_of(full)[2] if full else {}
    data = sweep.runs[0].data if sweep.runs else {}
    return SweepSummary(
        variants=tuple(_variant(found, baseline) for found in runs.values()),
        finished=len(sweep.runs),
        planned=sweep.planned,
        epochs=sweep.settings["epochs"],
        target=sweep.settings["target"],
        bayes_auc=data.get("bayes_auc"),
        data=data.get("name", "nothing is finished yet"),
        official=bool(data.get("official", False)),
        surroundings=len({(run.environment.get("host_hash"), run.workers) for run in sweep.runs}),
    )


def _variant(runs: list[FinishedRun], baseline: dict[int, float]) -> VariantSummary:
    records = [run.record for run in runs]
    by_epoch, best_epoch, best = _best_of(runs)
    paired = [auc - baseline[seed] for seed, auc in best.items() if seed in baseline]
    times = [
        (record.time_to_target_s, record.time_to_target_with_evaluation_s)
        for record in records
        if record.time_to_target_s is not None
        and record.time_to_target_with_evaluation_s is not None
    ]
    return VariantSummary(
        variant=runs[0].variant,
        seeds=tuple(run.seed for run in runs),
        weights=records[0].weights,
        embedding_bytes=records[0].embedding_bytes,
        compression=records[0].compression,
        by_epoch=by_epoch,
        best_epoch=best_epoch,
        best=spread(list(best.values())),
        against_full=spread(paired) if paired and runs[0].variant.kind != "full" else None,
        reached=len(times),
        time_to_target=spread([training for training, _ in times]) if times else None,
        time_to_target_with_evaluation=spread([whole for _, whole in times]) if times else None,
        training=spread([record.evaluations[-1].training_s for record in records]),
    )


def _best_of(runs: list[FinishedRun]) -> tuple[tuple[Spread, ...], int, dict[int, float]]:
    """AUC by epoch, the best epoch, and each seed's AUC there."""
    curves = [[found.auc for found in run.record.by_epoch] for run in runs]
    complete = min(len(curve) for curve in curves)
    by_epoch = tuple(spread([curve[epoch] for curve in curves]) for epoch in range(complete))
    if not by_epoch:
        return (), 0, {run.seed: run.record.evaluations[-1].auc for run in runs}
    best = max(range(complete), key=lambda epoch: by_epoch[epoch].mean)
    return (
        by_epoch,
        best + 1,
        {run.seed: curve[best] for run, curve in zip(runs, curves, strict=True)},
    )


def tidy_rows(sweep: SweepState) -> list[dict[str, Any]]:
    """One row an evaluation: what the charts are drawn from, for a table of one's own."""
    return [
        {
            "method": run.variant.method,
            "compression": run.variant.compression,
            "reached_compression": run.record.compression,
            "weights": run.record.weights,
            "embedding_bytes": run.record.embedding_bytes,
            "seed": run.seed,
            **asdict(found),
        }
        for run in sweep.runs
        for found in run.record.evaluations
    ]

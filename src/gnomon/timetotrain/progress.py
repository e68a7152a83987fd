"""How a campaign stands, for whoever watches it."""

from __future__ import annotations

import time

from gnomon.core.protocol import Progress, ProgressObserver
from gnomon.core.spec import Benchmark
from gnomon.core.units import format_seconds
from gnomon.timetotrain import journal as events
from gnomon.timetotrain.journal import Event
from gnomon.timetotrain.settings import MEASUREMENT, TrainingBenchmark
from gnomon.timetotrain.trace import RunTrace

MOST_OF_A_RUN = 0.98


class CampaignProgress:
    """Told of every event; says how the whole stands."""

    def __init__(
        self,
        observer: ProgressObserver | None,
        benchmark: Benchmark,
        settings: TrainingBenchmark,
        runs: int,
        before_s: float,
    ) -> None:
        self._observer, self._benchmark, self._settings = observer, benchmark, settings
        self._runs, self._before_s = runs, before_s
        self._started_s = time.monotonic()
        self._over: list[RunTrace] = []
        self._number, self._seed = 0, 0
        self._first_quality: float | None = None

    def begins(self, number: int, seed: int) -> None:
        """A run begins."""
        self._number, self._seed = number, seed
        self._say(0.0, "initialising")

    def event(self, event: Event) -> None:
        """Something happened in it."""
        if event.name == events.RUN_START:
            self._say(0.0, "training")
        elif event.name == events.EVALUATION:
            quality, samples = event.values["quality"], event.values["samples"]
            shown = "not finite" if quality is None else f"{quality:.4f}"
            target = self._benchmark.quality
            self._say(
                self._share(quality, samples),
                f"epoch {event.values['epoch']}, {target.metric} {shown} of {target.threshold:.4f}",
            )

    def ended(self, trace: RunTrace) -> None:
        """A run is over."""
        self._over.append(trace)
        self._number, self._seed = trace.number, trace.seed
        duration = "no time" if trace.duration_s is None else format_seconds(trace.duration_s)
        self._say(0.0, f"target in {duration}" if trace.converged else f"failed: {trace.why}")

    def _share(self, quality: float | None, samples: int) -> float:
        """Of this run, from the runs before it; of the first, from how far its quality has come."""
        known = [trace.samples for trace in self._over if trace.converged]
        if known:
            return samples * len(known) / max(sum(known), 1)
        if quality is None:
            return 0.0
        self._first_quality = quality if self._first_quality is None else self._first_quality
        way = self._benchmark.quality.threshold - self._first_quality
        return max(0.0, (quality - self._first_quality) / way) if way else 1.0

    def _say(self, share_of_run: float, text: str) -> None:
        if self._observer is None:
            return
        done = (len(self._over) + min(share_of_run, MOST_OF_A_RUN)) / self._runs
        elapsed_s = self._before_s + time.monotonic() - self._started_s
        words = f"run {self._number} of {self._runs}, seed {self._seed}: {text}"
        self._observer(Progress(MEASUREMENT, min(done, 1.0), elapsed_s, words))

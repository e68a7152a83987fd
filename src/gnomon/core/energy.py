"""Energy as samples of an instrument: joules between two timestamps, with the boundary rule stated.

Every instrument (`device/monitors.py`) hands over `EnergySamples`; windows of them become joules here, and
five windows become the field's figure, the median of microjoules per inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError

BoundaryRule = Literal["nearest", "running-sum", "split"]
"""Which samples belong to a window that starts and ends inside one.

    nearest      Each end moves to the nearest boundary of a sample and whole samples are summed: with even
                 spacing, samples round(start * rate) up to, not including, round(end * rate); half way goes
                 to the even one. The MLCommons runner, whose timestamps are counts of samples, does so. The
                 default.
    running-sum  Each end moves up to the first boundary that is not before it, where boundaries are 1/rate
                 added up one by one in double precision. The rounding of that sum decides whether a
                 timestamp that is itself a boundary keeps its place or moves by one sample. EEMBC's
                 application does so: all 90 windows of energy published with MLPerf Tiny v1.2 come out to
                 the last digit.
    split        A sample cut by an end counts in proportion to the part inside. No sum depends on where
                 boundaries fall, which suits instruments with few samples in a window.
"""


@dataclass(frozen=True)
class Gap:
    """Samples that an instrument took and that did not arrive.

    Attributes:
        time_s: When they were missed, on the samples' clock.
        lost: How many.
        since_s: They were lost after this, if the instrument only tells that some are missing since it last
            counted; None if they were lost at `time_s`.
    """

    time_s: float
    lost: int
    since_s: float | None = None

    def touches(self, window: Window) -> bool:
        """Whether they were, or may have been, lost inside the window."""
        since_s = self.time_s if self.since_s is None else self.since_s
        return since_s <= window.end_s and self.time_s >= window.start_s


@dataclass(frozen=True)
class EnergySamples:
    """Energy of successive intervals.

    Attributes:
        energy_j: Joules of each sample, shape (n,).
        boundaries_s: Where samples begin and end, in seconds and never falling, shape (n + 1,).
        rate_hz: Samples a second if they are evenly spaced; None otherwise.
        gaps: Where samples were lost.
    """

    energy_j: NDArray[np.float64]
    boundaries_s: NDArray[np.float64]
    rate_hz: float | None = None
    gaps: tuple[Gap, ...] = ()

    def __post_init__(self) -> None:
        if self.boundaries_s.shape != (len(self.energy_j) + 1,):
            raise DataError(
                f"{len(self.energy_j)} samples of energy have {len(self.energy_j) + 1} boundaries, "
                f"not {self.boundaries_s.size}"
            )
        if not (np.isfinite(self.boundaries_s).all() and (np.diff(self.boundaries_s) >= 0).all()):
            raise DataError("the times of energy samples must be finite and must not run backwards")

    def __len__(self) -> int:
        return len(self.energy_j)

    @property
    def start_s(self) -> float:
        """When the first sample begins."""
        return float(self.boundaries_s[0])

    @property
    def end_s(self) -> float:
        """When the last sample ends."""
        return float(self.boundaries_s[-1])


def evenly_sampled(
    energy_j: NDArray[np.floating], rate_hz: float, start_s: float = 0.0, gaps: Iterable[Gap] = ()
) -> EnergySamples:
    """Joules of samples that are `1 / rate_hz` long, shape (n,).

    Raises:
        DataError: The rate is not positive.
    """
    if not 0 < rate_hz < np.inf:
        raise DataError(f"the sample rate must be positive, got {rate_hz} Hz")
    boundaries_s = start_s + np.arange(len(energy_j) + 1) / rate_hz
    return EnergySamples(np.asarray(energy_j, np.float64), boundaries_s, rate_hz, tuple(gaps))


def from_power(times_s: NDArray[np.floating], power_w: NDArray[np.floating]) -> EnergySamples:
    """Readings of power, both shape (n,), as n - 1 samples of energy by the trapezoidal rule."""
    boundaries_s = np.asarray(times_s, np.float64)
    energy_j = np.diff(boundaries_s) * (power_w[1:] + power_w[:-1]) / 2
    return EnergySamples(np.asarray(energy_j, np.float64), boundaries_s)


def energy_between(
    samples: EnergySamples, start_s: float, end_s: float, rule: BoundaryRule = "nearest"
) -> float:
    """Joules from `start_s` to `end_s`.

    Args:
        samples: What the instrument recorded.
        start_s: On the clock of the samples' boundaries.
        end_s: Likewise.
        rule: What is done with the samples at both ends.

    Raises:
        DataError: The window ends before it starts, or reaches beyond what was recorded.
    """
    if not start_s <= end_s:
        raise DataError(f"a window of energy cannot start at {start_s} s and end at {end_s} s")
    first, last = samples.start_s, samples.end_s
    slack_s = (last - first) / max(1, len(samples)) / 2 + 1e-9 * max(abs(first), abs(last))
    if start_s < first - slack_s or end_s > last + slack_s:
        raise DataError(
            f"the window from {start_s:.3f} s to {end_s:.3f} s is not within the recorded energy, "
            f"{first:.3f} s to {last:.3f} s: start the monitor earlier and stop it later"
        )
    if rule == "split":
        total_j = np.concatenate([[0.0], np.cumsum(samples.energy_j)])
        ends_j = np.interp([start_s, end_s], samples.boundaries_s, total_j)
        return float(ends_j[1] - ends_j[0])
    place = _nearest_boundary if rule == "nearest" else _running_sum_boundary
    return float(samples.energy_j[place(samples, start_s) : place(samples, end_s)].sum())


def _nearest_boundary(samples: EnergySamples, time_s: float) -> int:
    if samples.rate_hz is not None:
        return max(0, min(len(samples), round((time_s - samples.start_s) * samples.rate_hz)))
    above = int(np.searchsorted(samples.boundaries_s, time_s))
    below = max(0, above - 1)
    above = min(above, len(samples))
    return (
        above
        if samples.boundaries_s[above] - time_s <= time_s - samples.boundaries_s[below]
        else below
    )


def _running_sum_boundary(samples: EnergySamples, time_s: float) -> int:
    if samples.rate_hz is None:
        raise DataError(
            "the rule 'running-sum' is for evenly spaced samples: use 'nearest' or 'split'"
        )
    # cumsum adds one by one, so it repeats the rounding of a loop that adds 1/rate for each sample.
    steps = np.cumsum(np.full(len(samples), 1 / samples.rate_hz))
    boundaries_s = samples.start_s + np.concatenate([[0.0], steps])
    return min(len(samples), int(np.searchsorted(boundaries_s, time_s)))


@dataclass(frozen=True)
class Window:
    """A stretch of time in which a board inferred over and over.

    Attributes:
        start_s: On the instrument's clock.
        end_s: Likewise.
        iterations: Inferences in it.
    """

    start_s: float
    end_s: float
    iterations: int

    @property
    def duration_s(self) -> float:
        """How long it is."""
        return self.end_s - self.start_s


def windows_between(timestamps_s: Sequence[float], iterations: Sequence[int]) -> tuple[Window, ...]:
    """Windows from an instrument's timestamps: two for each, in order.

    One more timestamp at the very beginning is allowed: the field's runners ask for it to try the pin.

    Args:
        timestamps_s: As they came.
        iterations: Inferences of each window.

    Raises:
        DataError: There are too few timestamps or too many, or they run backwards.
    """
    needed, found = 2 * len(iterations), len(timestamps_s)
    if found not in (needed, needed + 1):
        mend = (
            "build the firmware in energy mode and connect its timestamp pin to the monitor's input"
            if found < needed
            else "a loose wire or a floating input makes such edges; hold the pin high when it is idle"
        )
        raise DataError(
            f"{len(iterations)} windows need {needed} timestamps of the energy monitor (one more at "
            f"the start is allowed), {found} came: {mend}"
        )
    times_s = timestamps_s[found - needed :]
    for earlier_s, later_s in pairwise(times_s):
        if later_s < earlier_s:
            raise DataError(f"timestamps run backwards: {later_s} s came after {earlier_s} s")
    return tuple(
        Window(times_s[2 * index], times_s[2 * index + 1], count)
        for index, count in enumerate(iterations)
    )


@dataclass(frozen=True)
class EnergyFigures:
    """What the windows of one measurement cost.

    Attributes:
        windows: The windows, in order.
        energy_j: Joules of each.
        lost_samples: Samples that were or may have been lost inside each.
    """

    windows: tuple[Window, ...]
    energy_j: tuple[float, ...]
    lost_samples: tuple[int, ...]

    @property
    def uj_per_inference(self) -> tuple[float, ...]:
        """Microjoules per inference of each window."""
        return tuple(
            1e6 * energy_j / window.iterations
            for energy_j, window in zip(self.energy_j, self.windows, strict=True)
        )

    @property
    def power_w(self) -> tuple[float, ...]:
        """Average power of each window."""
        return tuple(
            energy_j / window.duration_s
            for energy_j, window in zip(self.energy_j, self.windows, strict=True)
        )

    @property
    def median_uj_per_inference(self) -> float:
        """The field's figure."""
        return float(np.median(self.uj_per_inference))

    @property
    def spread(self) -> float:
        """Largest minus smallest over the median, of microjoules per inference: 0 if all windows agree."""
        costs = self.uj_per_inference
        return (max(costs) - min(costs)) / self.median_uj_per_inference if any(costs) else 0.0


def measure_windows(
    samples: EnergySamples, windows: Sequence[Window], rule: BoundaryRule = "nearest"
) -> EnergyFigures:
    """The energy of each window.

    Raises:
        DataError: No window, one without inferences or of no length, or one beyond what was recorded.
    """
    if not windows:
        raise DataError("no window of energy was measured")
    for number, window in enumerate(windows, 1):
        if window.iterations < 1 or not window.duration_s > 0:
            raise DataError(
                f"window {number} has {window.iterations} inferences in {window.duration_s} s: "
                "both must be positive"
            )
    return EnergyFigures(
        tuple(windows),
        tuple(energy_between(samples, each.start_s, each.end_s, rule) for each in windows),
        tuple(sum(gap.lost for gap in samples.gaps if gap.touches(each)) for each in windows),
    )

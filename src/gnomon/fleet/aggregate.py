"""From the clients' updates to one direction: means, and rules that withstand Byzantine clients.

Updates arrive as reports; `screen` says which can be used, `combine` makes one vector of those. Rows are in
the order of the reports; sums are taken in that order, in double precision: equal rows give equal bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import SettingsError, UnknownNameError
from gnomon.fleet.orders import Outcome, Parameters, Report

Updates = NDArray[np.float32]
Floats = NDArray[np.float64]
Kind = Literal["mean", "samples", "unbiased", "median", "trimmed", "krum", "multi-krum"]

KINDS: tuple[Kind, ...] = get_args(Kind)
_FORMS = "mean, samples, unbiased, median, trimmed:SHARE, krum:BYZANTINE, multi-krum:BYZANTINE[:SELECTED]"


@dataclass(frozen=True)
class Aggregation:
    """How updates become one direction.

    Attributes:
        kind: `mean`: each counts 1 / K. `samples`: as p_k among those present (McMahan et al., AISTATS 2017).
            `unbiased`: sum of (N / K) p_k dw_k, whose expectation under uniform sampling is the sum over all
            clients (Luo et al., INFOCOM 2021). `median`, `trimmed`: by coordinate (Yin et al., ICML 2018).
            `krum`, `multi-krum`: the one in the densest place, or an average of several (Blanchard et al.,
            NeurIPS 2017).
        share: `trimmed`: of the updates, cut off at either end.
        byzantine: `krum`, `multi-krum`: f, how many of a round's clients may report anything.
        selected: `multi-krum`: m, how many are averaged; None for all but f.
    """

    kind: Kind = "samples"
    share: float = 0.0
    byzantine: int = 0
    selected: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share < 0.5:
            raise SettingsError(
                f"aggregation trimmed cuts off a share from 0 to below 0.5 at either end, got {self.share}"
            )
        if self.byzantine < 0:
            raise SettingsError(
                f"aggregation {self.kind} expects 0 or more Byzantine clients, got {self.byzantine}"
            )
        if self.selected is not None and self.selected < 1:
            raise SettingsError(
                f"aggregation {self.kind}: at least 1 must be selected, got {self.selected}"
            )

    def __str__(self) -> str:
        """As `parse_aggregation` takes it."""
        if self.kind == "trimmed":
            return f"trimmed:{self.share!r}"
        if self.kind in ("krum", "multi-krum"):
            selected = "" if self.selected is None else f":{self.selected}"
            return f"{self.kind}:{self.byzantine}{selected}"
        return self.kind

    @property
    def fewest(self) -> int:
        """Clients below which it says nothing: 2 f + 3 for Krum's kind (Blanchard et al., section 4)."""
        return 2 * self.byzantine + 3 if self.kind in ("krum", "multi-krum") else 1


def parse_aggregation(text: str) -> Aggregation:
    """`mean`, `samples`, `unbiased`, `median`, `trimmed:0.1`, `krum:2`, `multi-krum:2`, `multi-krum:2:5`.

    Raises:
        UnknownNameError: There is no such aggregation.
        SettingsError: Its numbers are missing, out of range or too many.
    """
    parts = text.strip().split(":")
    try:
        match parts:
            case ["mean" | "samples" | "unbiased" | "median"]:
                return Aggregation(cast("Kind", parts[0]))
            case ["trimmed", share]:
                return Aggregation("trimmed", share=float(share))
            case ["krum", byzantine]:
                return Aggregation("krum", byzantine=int(byzantine))
            case ["multi-krum", byzantine]:
                return Aggregation("multi-krum", byzantine=int(byzantine))
            case ["multi-krum", byzantine, selected]:
                return Aggregation("multi-krum", byzantine=int(byzantine), selected=int(selected))
    except ValueError:
        pass
    if parts[0] not in KINDS:
        raise UnknownNameError("aggregation", parts[0], KINDS)
    raise SettingsError(f"aggregation is one of {_FORMS}, got {text!r}")


def combine(
    aggregation: Aggregation,
    updates: Updates,
    shares: Floats,
    clients: int,
    draws: NDArray[np.int64] | None = None,
) -> Parameters:
    """The direction in which the server goes, shape (P,).

    Args:
        aggregation: How.
        updates: One a row, shape (K, P), finite.
        shares: p_k of those clients among all N, shape (K,).
        clients: N.
        draws: How often each was drawn, shape (K,); once if None. A client counts so many times, except for
            Krum's kind, where it would vouch for itself. If clients are drawn with probability p_k, it is
            `mean` that is unbiased.

    Raises:
        SettingsError: There are too few updates for this aggregation.
    """
    count = len(updates)
    if count < aggregation.fewest:
        raise SettingsError(
            f"aggregation {aggregation} needs at least {aggregation.fewest} updates a round, got {count}: "
            f"ask more clients or expect fewer Byzantine ones"
        )
    times = np.ones(count, dtype=np.int64) if draws is None else draws
    # A sum past the range of float32 becomes infinite; the loss will tell.
    with np.errstate(over="ignore"):
        return _direction(aggregation, updates, shares, clients, times)


def _direction(
    aggregation: Aggregation,
    updates: Updates,
    shares: Floats,
    clients: int,
    times: NDArray[np.int64],
) -> Parameters:
    match aggregation.kind:
        case "mean":
            return _weighted_sum(updates, times / times.sum())
        case "samples":
            weights = times * shares
            return _weighted_sum(updates, weights / weights.sum())
        case "unbiased":
            return _weighted_sum(updates, clients / times.sum() * times * shares)
        case "median":
            middle: Parameters = np.median(np.repeat(updates, times, axis=0), axis=0)
            return middle
        case "trimmed":
            return _trimmed_mean(np.repeat(updates, times, axis=0), aggregation.share)
        case "krum":
            best: Parameters = updates[
                np.argmin(krum_scores(updates, aggregation.byzantine))
            ].copy()
            return best
        case "multi-krum":
            wanted = aggregation.selected or len(updates) - aggregation.byzantine
            order = np.argsort(krum_scores(updates, aggregation.byzantine), kind="stable")
            chosen = updates[np.sort(order[:wanted])]
            return _weighted_sum(chosen, np.full(len(chosen), 1 / len(chosen)))


def krum_scores(updates: Updates, byzantine: int) -> Floats:
    """Sum of squared distances to the K - f - 2 nearest others, shape (K,): Blanchard et al., section 4.

    Args:
        updates: Shape (K, P), K at least f + 3.
        byzantine: f.
    """
    doubles = updates.astype(np.float64)
    squares = np.einsum("ij,ij->i", doubles, doubles)
    distances = np.maximum(squares[:, None] + squares - 2 * doubles @ doubles.T, 0)
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)[:, : len(updates) - byzantine - 2]
    scores: Floats = nearest.sum(axis=1)
    return scores


def norms(updates: Updates) -> Floats:
    """L2 norms of the rows, shape (K,), in double precision: squares of large singles would overflow."""
    doubles = updates.astype(np.float64)
    lengths: Floats = np.sqrt(np.einsum("ij,ij->i", doubles, doubles))
    return lengths


def norm_bound(updates: Updates, limit: float) -> Updates:
    """The updates, those longer than `limit` shortened to it, shape (K, P)."""
    lengths = norms(updates)
    factors = np.ones_like(lengths)
    np.divide(limit, lengths, out=factors, where=lengths > limit)
    bounded: Updates = (updates * factors[:, None]).astype(np.float32)
    return bounded


def screen(
    reports: Sequence[Report],
    shape: tuple[int, ...],
    max_update_norm: float | None = None,
    too_long: Literal["clip", "reject"] = "clip",
) -> tuple[Report, ...]:
    """The reports, those whose update cannot be used marked as rejected, the reason in their note.

    Args:
        reports: Of one round; only those with outcome `used` are looked at.
        shape: Of the model's parameters.
        max_update_norm: L2 norm an update may have; None for any.
        too_long: What becomes of a longer one: shortened to that norm, with a note, or rejected.
    """
    return tuple(
        _screened(report, shape, max_update_norm, too_long)
        if report.outcome is Outcome.USED
        else report
        for report in reports
    )


def _screened(
    report: Report, shape: tuple[int, ...], limit: float | None, too_long: Literal["clip", "reject"]
) -> Report:
    fault = _fault(report, shape)
    if fault is None and limit is not None and report.update is not None:
        length = float(norms(report.update[None])[0])
        if length > limit:
            fault = f"update has norm {length:.4g}, more than {limit:g}"
            if too_long == "clip":
                clipped = norm_bound(report.update[None], limit)[0]
                return replace(report, update=clipped, note=_noted(report, f"{fault}: clipped"))
    if fault is None:
        return report
    return replace(report, outcome=Outcome.REJECTED, update=None, note=_noted(report, fault))


def _noted(report: Report, note: str) -> str:
    return f"{report.note}; {note}" if report.note else note


def _fault(report: Report, shape: tuple[int, ...]) -> str | None:
    """Why this report's update cannot be used, in words; None if it can."""
    # Whatever its type says, this came from a client.
    update: object = report.update
    if update is None:
        return "report came without an update"
    if not isinstance(update, np.ndarray):
        return f"update is a {type(update).__name__}, not an array"
    if update.shape != shape:
        return f"update has shape {update.shape}, the model {shape}"
    if update.dtype != np.float32:
        return f"update holds {update.dtype}, the model float32"
    if not np.isfinite(update).all():
        wrong = int((~np.isfinite(update)).sum())
        return f"update is not finite in {wrong} of {update.size} places"
    if report.samples < 1:
        return f"report claims {report.samples} samples"
    return None


def _weighted_sum(updates: Updates, weights: Floats) -> Parameters:
    """Row by row rather than as one product, whose order of summation is the library's affair."""
    total = np.zeros(updates.shape[1])
    for weight, update in zip(weights, updates, strict=True):
        total += weight * update.astype(np.float64)
    return total.astype(np.float32)


def _trimmed_mean(updates: Updates, share: float) -> Parameters:
    # 0.29 * 100 is 28.999...: what is a whole number on paper is one here.
    cut = min(math.floor(share * len(updates) + 1e-9), (len(updates) - 1) // 2)
    kept = np.sort(updates, axis=0)[cut : len(updates) - cut]
    middle: Parameters = kept.mean(axis=0, dtype=np.float64).astype(np.float32)
    return middle

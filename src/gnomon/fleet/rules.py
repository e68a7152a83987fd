"""Rule profiles of federations, and the checks that turn their figures into a verdict.

There is no published round of such results to be comparable with: `quick` is the only profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gnomon.core.spec import QualityTarget
from gnomon.core.units import format_energy, format_seconds
from gnomon.core.verdict import Check, Verdict, verdict_under
from gnomon.fleet.outcome import Outcome
from gnomon.fleet.settings import FederatedSettings


@dataclass(frozen=True)
class RuleProfile:
    """What a run is held to.

    Attributes:
        name: Shown with every verdict.
        least_reported: Of the reports that rounds wait for, the mean share that must come and be used.
    """

    name: str
    least_reported: float


PROFILES: dict[str, RuleProfile] = {"quick": RuleProfile("quick", least_reported=0.5)}

MENDS = {
    "rounds": "raise --max-rounds",
    "budget": "raise the budget, or choose --gamma for what is scarce",
    "diverged": "use a smaller --learning-rate",
    "no reports": "see the clients' notes in clients.parquet: their reports could not be used",
    "stopped": "raise the budget, or choose another --controller",
}
"""By why a federation ended: what to change so that it reaches its target."""


@dataclass(frozen=True)
class Found:
    """What a federation left behind, for the rules to judge.

    Attributes:
        outcome: Its figures; None if there is no round.
        ended: Why it was over (`reason`, `why`); empty if it was broken off.
        faults: Of the fleet (`kind`, `message`).
        ledger_faults: Where its ledger does not add up, in words.
        clock_faults: Where seconds and joules are not those of the devices, in words; None where they were
            measured instead.
    """

    outcome: Outcome | None
    ended: Mapping[str, str]
    faults: Sequence[Mapping[str, str]]
    ledger_faults: Sequence[str]
    clock_faults: Sequence[str] | None


def federation_checks(
    found: Found,
    settings: FederatedSettings,
    target: QualityTarget,
    profile: RuleProfile,
    measurement: str,
) -> list[Check]:
    """Every rule on one federation, passed or not."""
    checks: list[Check] = []

    def check(name: str, passed: bool, text: str, required: str, mend: str) -> None:
        checks.append(Check(name, passed, text, required, "" if passed else mend, measurement))

    if not found.faults:
        check("faults", True, "none", "none", "")
    for fault in found.faults:
        kind, message = fault["kind"], fault["message"]
        check(kind, False, kind.replace("_", " "), "no fault of the fleet", message)
    outcome = found.outcome
    if outcome is None:
        check("rounds", False, "none", "at least one", "see the faults above, and run again")
        return checks
    if settings.target_loss is not None:
        reason, why = found.ended.get("reason", ""), found.ended.get("why", "it was broken off")
        check(
            "target",
            outcome.to_target is not None,
            f"loss {outcome.loss:.4f} after {outcome.spent.rounds} rounds",
            f"at most {settings.target_loss:.4f}",
            f"{why}: {MENDS.get(reason, 'resume it, or run it again')}",
        )
    bound = "at least" if target.higher_is_better else "at most"
    check(
        "quality",
        target.met_by(outcome.quality),
        f"{target.metric} {outcome.quality:.4f}",
        f"{bound} {target.threshold:.4f} ({100 * target.factor:g} % of the reference, "
        f"{target.reference:.4f})",
        "the model is not good enough on held-out samples: lower --target-loss, or raise --max-rounds",
    )
    check(
        "reported",
        outcome.reported >= profile.least_reported,
        f"{100 * outcome.reported:.1f} % of the reports that rounds wait for",
        f"at least {100 * profile.least_reported:g} %",
        "too many clients dropped out or came late: raise --deadline, or ask more with --over-selection",
    )
    if settings.max_duration_s is not None:
        check(
            "duration_budget",
            outcome.spent.duration_s <= settings.max_duration_s,
            format_seconds(outcome.spent.duration_s),
            f"at most {format_seconds(settings.max_duration_s)}",
            "raise --max-duration, or lower --gamma, which then saves time",
        )
    if settings.max_energy_j is not None:
        check(
            "energy_budget",
            outcome.spent.energy_j <= settings.max_energy_j,
            format_energy(outcome.spent.energy_j),
            f"at most {format_energy(settings.max_energy_j)}",
            "raise --max-energy, or raise --gamma, which then saves energy",
        )
    ledger = [("ledger", found.ledger_faults, "that every round is the sum of its clients")]
    if found.clock_faults is not None:
        ledger.append(
            ("device_costs", found.clock_faults, "the seconds and joules that the devices take")
        )
    for name, words, required in ledger:
        mend = "the record was changed or cut short, or the fleet miscounts: run it again"
        check(name, not words, words[0] if words else "it adds up", required, mend)
    return checks


def verdict_of(
    checks: Sequence[Check],
    profile: RuleProfile,
    *,
    official_data: bool,
    registered: bool,
    departures: Sequence[str],
) -> Verdict:
    """The verdict on these checks; never comparable, for there is nothing published to stand beside.

    Args:
        checks: On the federation.
        profile: Whose rules they are.
        official_data: Whether the data is the one that the field names.
        registered: Whether the benchmark is the registered one, word for word.
        departures: Where the run asked for something else than the benchmark declares.
    """
    lacking = [f"{profile.name} rules"]
    if not official_data:
        lacking.append("not the official data")
    if not registered:
        lacking.append("not a registered benchmark")
    if departures:
        lacking.append(f"other than declared ({'; '.join(departures)})")
    return verdict_under(profile.name, checks, lacking)

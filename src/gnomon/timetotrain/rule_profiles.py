"""Rule profiles of time to train, and the verdict under one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.core.verdict import Check, Verdict, verdict_under


@dataclass(frozen=True)
class RuleProfile:
    """What a campaign is held to.

    Attributes:
        name: Shown with every verdict.
        declared_runs: Whether as many runs are needed as the benchmark declares; three otherwise.
        checkpoint: Whether the model must be kept and reproduce the quality.
        begun_again: Whether a run may be begun again that was broken off.
    """

    name: str
    declared_runs: bool
    checkpoint: bool
    begun_again: bool


PROFILES = {
    profile.name: profile
    for profile in (
        RuleProfile("quick", declared_runs=False, checkpoint=False, begun_again=True),
        RuleProfile("official", declared_runs=True, checkpoint=True, begun_again=False),
    )
}


def verdict_of(
    checks: Sequence[Check],
    profile: RuleProfile,
    *,
    official_data: bool,
    registered: bool,
    departures: Sequence[str],
) -> Verdict:
    """The verdict on these checks.

    Args:
        checks: On the campaign.
        profile: Whose rules they are.
        official_data: Whether the data is the one that the field names.
        registered: Whether the benchmark is the registered one, word for word.
        departures: Where the run asked for something else than the benchmark declares.
    """
    lacking = [] if profile.name == "official" else [f"{profile.name} rules"]
    if not official_data:
        lacking.append("not the official data")
    if not registered:
        lacking.append("not a registered benchmark")
    if departures:
        lacking.append(f"other than declared ({'; '.join(departures)})")
    return verdict_under(profile.name, checks, lacking)

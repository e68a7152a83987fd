"""Every rule on the runs of a campaign, in order.

Whether the runs converge as the reference does is judged in `convergence_test.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from gnomon.core.verdict import Check
from gnomon.timetotrain import clock_checks, quality_checks, run_checks
from gnomon.timetotrain.evidence import Campaign
from gnomon.timetotrain.rule_profiles import RuleProfile

Rule = Callable[[Campaign, RuleProfile], Check]
RULES: tuple[Rule, ...] = (
    run_checks.enough_runs,
    run_checks.converged,
    run_checks.seeds,
    clock_checks.clock,
    clock_checks.initialisation,
    clock_checks.data_before_clock,
    clock_checks.evaluation_schedule,
    quality_checks.held_out,
    quality_checks.quality_recomputed,
    quality_checks.quality_reproduced,
    run_checks.faults,
    run_checks.begun_again,
    run_checks.machines,
)


def campaign_checks(campaign: Campaign, profile: RuleProfile) -> list[Check]:
    """Every rule on the runs themselves, passed or not."""
    return [rule(campaign, profile) for rule in RULES]

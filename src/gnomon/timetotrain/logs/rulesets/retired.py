"""Rounds 0.7 to 5.0 as far as they are judged: their benchmarks and targets; the rest as in 5.1.

Source: mlcommons/logging, compliance_checker, training_0.7.0 to training_5.0.0, closed_*.yaml.
"""

from __future__ import annotations

from dataclasses import replace

from gnomon.timetotrain.logs.constraints import Parts, Range, Whole
from gnomon.timetotrain.logs.rules import KeyRule, RuleSet, evaluated, optional
from gnomon.timetotrain.logs.rulesets import round_5_1
from gnomon.timetotrain.logs.rulesets.common import COUNTS, named

LAST_TWENTY_MINUTE_ROUND = "0.7.0"
FIRST_SSD_AT_034 = "2.0.0"


def at_least(target: float) -> tuple[KeyRule, ...]:
    """One evaluation reaches the target, which is a fraction."""
    return (evaluated(Range(least=target, below=1), *COUNTS),)


TARGETS: dict[str, tuple[KeyRule, ...]] = {
    "bert": at_least(0.720),
    "dlrm": at_least(0.8025),
    "gnmt": at_least(0.240),
    "gnn": at_least(0.72),
    "gpt3": (evaluated(Range(most=2.69, above=2.6), *COUNTS),),
    "maskrcnn": (evaluated(Parts({"BBOX": 0.377, "SEGM": 0.339}), *COUNTS),),
    "minigo": at_least(0.5),
    "resnet": at_least(0.759),
    "rnnt": (evaluated(Range(most=0.058, above=0), *COUNTS),),
    "transformer": at_least(0.250),
    "unet3d": (evaluated(Range(least=0.908), *COUNTS),),
}


def stand_in(round_name: str, benchmarks: frozenset[str]) -> RuleSet:
    """The rules for a round that has no rule set of its own."""
    own = dict(TARGETS)
    own["ssd"] = at_least(0.340 if round_name >= FIRST_SSD_AT_034 else 0.230)
    if round_name == "0.7.0":
        # 0.712 was enough below a batch of 8192, 0.706 above.
        own["bert"] = at_least(0.706)
    closed = {name: rules for name, rules in (round_5_1.CLOSED | own).items() if name in benchmarks}
    initialisation_s = dict(round_5_1.ROUND.initialisation_s)
    if round_name == LAST_TWENTY_MINUTE_ROUND:
        initialisation_s = dict.fromkeys(initialisation_s, 20 * 60.0)
    names = named(tuple(sorted(benchmarks)))
    accumulation = optional("gradient_accumulation_steps", Whole(least=1))
    return replace(
        round_5_1.ROUND,
        closed=closed,
        opened={name: rules for name, rules in round_5_1.OPEN.items() if name in benchmarks},
        closed_common=(names, accumulation),
        opened_common=(names,),
        initialisation_s=initialisation_s,
        seeds=round_name != "0.7.0",
    )

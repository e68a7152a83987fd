"""Round v0.5 (results of December 2018): no initialisation off the clock, no hyperparameters in fixed keys.

Source: MLPerf Training Rules v0.5 (mlcommons/training_policies, commit 54a5bb0): "Benchmarks", "Run Results",
"Benchmark Results". The field has no checker for this round any more.
"""

from __future__ import annotations

from gnomon.timetotrain.logs.constraints import Is, Parts, Range
from gnomon.timetotrain.logs.entries import Dialect
from gnomon.timetotrain.logs.rules import KeyRule, RuleSet, Runs, evaluated, often, once, optional

COMMON: tuple[KeyRule, ...] = (
    often("cache_clear"),
    once("run_start", unique=True),
    # Many logs of the round say no more than that the run stopped.
    once(
        "run_stop", after=("run_start",), unique=True, metadata_if_there={"status": Is("success")}
    ),
    often("eval_start"),
    often("eval_stop"),
)


def reached(target: float) -> tuple[KeyRule, ...]:
    """The round's target: what an evaluation must reach, and what a log must say if it says one."""
    bound = Range(least=target, percent=True)
    return (optional("eval_target", bound), evaluated(bound))


CLOSED = {
    "resnet": reached(0.749),
    "ssd": reached(0.212),
    "maskrcnn": (evaluated(Parts({"BBOX": 0.377, "SEGM": 0.339})),),
    "gnmt": reached(0.218),
    "transformer": reached(0.250),
    "ncf": reached(0.635),
    "minigo": reached(0.400),
}

ROUND = RuleSet(
    name="0.5.0",
    source="MLPerf Training Rules v0.5, training_policies 54a5bb0",
    dialect=Dialect.V05,
    common=COMMON,
    closed=CLOSED,
    opened=CLOSED,
    runs={
        "resnet": Runs(5),
        "ssd": Runs(5),
        "maskrcnn": Runs(5),
        "gnmt": Runs(10),
        "transformer": Runs(10),
        # A hundred runs, of which the first fifty that converge count.
        "ncf": Runs(100, counted=50),
        # The text says 20; everybody submitted 10, and the published results are of 10.
        "minigo": Runs(10),
    },
)

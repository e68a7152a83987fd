"""Rules for benchmarks that are not the field's: the common part of 6.0, and evaluation inside the run.

There is no hyperparameter table and no fixed number of runs; the target is the one the log states, or the
benchmark's if it is given.
"""

from __future__ import annotations

from gnomon.timetotrain.logs.constraints import Range, Said, Unstated, Whole
from gnomon.timetotrain.logs.entries import Dialect
from gnomon.timetotrain.logs.rules import RuleSet, evaluated, often, once, optional
from gnomon.timetotrain.logs.rulesets.common import COMMON, COUNTS, INITIALISATION_S

UNSTATED = Unstated("a target that is stated: logged as eval_target, or given with the benchmark")

ROUND = RuleSet(
    name="gnomon",
    source="the part of mlcommons/logging, training_6.0.0, that does not depend on the benchmark",
    dialect=Dialect.MLLOG,
    common=(
        *COMMON,
        once("submission_benchmark", Said()),
        once("global_batch_size", Whole(least=1)),
        optional("gradient_accumulation_steps", Whole(least=1)),
        optional("eval_target", Range()),
        often("eval_start", one_of_metadata=COUNTS, after=("run_start",), not_after=("run_stop",)),
        often("eval_stop", one_of_metadata=COUNTS, after=("eval_start",), not_after=("run_stop",)),
        evaluated(UNSTATED, *COUNTS),
    ),
    closed={},
    initialisation_s=INITIALISATION_S,
    seeds=True,
    any_benchmark=True,
)

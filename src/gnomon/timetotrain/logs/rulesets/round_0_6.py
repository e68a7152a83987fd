"""Round v0.6 (results of July 2019): strict nesting of epochs and evaluations, twenty minutes to initialise.

Source: mlcommons/logging, compliance_checker, training_0.6.0; targets: MLPerf Training Rules v0.6.
The field's checker knows no targets of this round, because its logs do not hold them.
"""

from __future__ import annotations

from dataclasses import replace

from gnomon.timetotrain.logs.constraints import Is, NotEmptyList, OneOf, Parts, Range, Said, Truth
from gnomon.timetotrain.logs.entries import Dialect
from gnomon.timetotrain.logs.rules import KeyRule, Occurs, RuleSet, evaluated, often, once
from gnomon.timetotrain.logs.rulesets.common import MILESTONES, RUNS

POSITIVE = Range(above=0)
BENCHMARKS = ("resnet", "ssd", "maskrcnn", "transformer", "gnmt", "minigo")

SUBMISSION = (
    once("submission_org", Said()),
    once("submission_platform", Said()),
    once("submission_division", OneOf(("closed", "open"))),
    once("submission_status", OneOf(("cloud", "onprem", "research"))),
    once("submission_benchmark", OneOf(BENCHMARKS)),
    once("submission_poc_name", Said()),
    once("submission_entry", Said()),
)
COMMON: tuple[KeyRule, ...] = (
    *SUBMISSION,
    often("cache_clear", Is(True), not_after=("init_start",)),
    *MILESTONES[:3],
    replace(MILESTONES[3], metadata={"status": OneOf(("success",))}),
    often("epoch_start"),
    often("epoch_stop"),
    often("eval_start"),
    often("eval_stop"),
    often("block_start"),
    often("block_stop"),
)


def positive(*keys: str) -> tuple[KeyRule, ...]:
    """Keys that are logged once with a number above 0."""
    return tuple(once(key, POSITIVE) for key in keys)


RESNET = (
    *positive(
        "global_batch_size",
        "opt_base_learning_rate",
        "opt_learning_rate_warmup_epochs",
        "model_bn_span",
    ),
    once("opt_name", OneOf(("sgd", "lars"))),
    once("opt_learning_rate_decay_boundary_epochs", NotEmptyList(), when=("opt_name", "sgd")),
    once("lars_opt_learning_rate_decay_steps", POSITIVE, when=("opt_name", "lars")),
    once("lars_opt_learning_rate_decay_poly_power", POSITIVE, when=("opt_name", "lars")),
    once("lars_opt_weight_decay", POSITIVE, when=("opt_name", "lars")),
    once("lars_epsilon", Range(least=0), when=("opt_name", "lars")),
    evaluated(Range(least=0.759, percent=True)),
)
SSD = (
    *positive(
        "global_batch_size",
        "opt_base_learning_rate",
        "opt_weight_decay",
        "opt_learning_rate_warmup_steps",
        "max_samples",
        "model_bn_span",
    ),
    once("opt_learning_rate_warmup_factor", Range(least=0)),
    evaluated(Range(least=0.230, percent=True)),
)
MASKRCNN = (
    *positive(
        "global_batch_size",
        "opt_base_learning_rate",
        "opt_learning_rate_warmup_steps",
        "opt_learning_rate_warmup_factor",
        "num_image_candidates",
    ),
    evaluated(Parts({"BBOX": 0.377, "SEGM": 0.339})),
)
GNMT = (
    *positive(
        "global_batch_size",
        "opt_base_learning_rate",
        "opt_learning_rate_decay_interval",
        "opt_learning_rate_decay_factor",
        "opt_learning_rate_decay_steps",
        "opt_learning_rate_remain_steps",
        "opt_learning_rate_warmup_steps",
        "max_sequence_length",
    ),
    once("opt_learning_rate_alt_decay_func", Truth()),
    once("opt_learning_rate_alt_warmup_func", Truth()),
    evaluated(Range(least=0.240, percent=True)),
)
TRANSFORMER = (
    *positive(
        "global_batch_size",
        "opt_base_learning_rate",
        "opt_learning_rate_warmup_steps",
        "max_sequence_length",
        "opt_adam_epsilon",
    ),
    once("opt_name", OneOf(("adam", "lazy_adam"))),
    once("opt_adam_beta_1", OneOf((0.86, 0.9))),
    once("opt_adam_beta_2", OneOf((0.92, 0.98, 0.997))),
    evaluated(Range(least=0.250, percent=True)),
)
# Evaluated after the run, on saved models: the time is that of the first model that passes.
MINIGO = (
    KeyRule("run_stop", Occurs.OPTIONAL),
    KeyRule("block_start", Occurs.OPTIONAL),
    KeyRule("block_stop", Occurs.OPTIONAL),
    often("save_model"),
    once("eval_result", metadata={"iteration": POSITIVE, "timestamp": POSITIVE}, unique=True),
    *positive("global_batch_size", "virtual_losses"),
    once("opt_learning_rate_decay_boundary_steps", NotEmptyList()),
    once("opt_base_learning_rate", NotEmptyList()),
    evaluated(Range(least=0.50, percent=True)),
)

CLOSED = {
    "resnet": RESNET,
    "ssd": SSD,
    "maskrcnn": MASKRCNN,
    "gnmt": GNMT,
    "transformer": TRANSFORMER,
    "minigo": MINIGO,
}

ROUND = RuleSet(
    name="0.6.0",
    source="mlcommons/logging, compliance_checker, training_0.6.0",
    dialect=Dialect.V06,
    common=COMMON,
    closed=CLOSED,
    # The round's checker asks the same of both divisions.
    opened=CLOSED,
    initialisation_s={"closed": 20 * 60.0, "open": 20 * 60.0},
    runs=RUNS,
    strict_nesting=True,
)

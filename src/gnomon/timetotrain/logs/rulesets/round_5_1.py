"""Round 5.1 (results of November 2025): hyperparameters of every benchmark, closed and open division.

Source: mlcommons/logging, compliance_checker, training_5.1.0, closed_*.yaml and open_*.yaml.
"""

from __future__ import annotations

import math

from gnomon.timetotrain.logs.constraints import Follows, Is, Range
from gnomon.timetotrain.logs.entries import Dialect
from gnomon.timetotrain.logs.rules import KeyRule, RuleSet, each_once, evaluated, often, once
from gnomon.timetotrain.logs.rulesets.common import (
    ACCUMULATION,
    COMMON,
    INITIALISATION_S,
    OPEN_ADAMW,
    RUNS,
    adamw,
    named,
)

RETINANET = (
    once("global_batch_size"),
    once("opt_name", Is("adam")),
    once("opt_base_learning_rate", Range(least=0)),
    once("opt_weight_decay", Is(0)),
    once("opt_learning_rate_warmup_epochs", Range(least=0)),
    once("opt_learning_rate_warmup_factor", Range(least=0)),
    evaluated(Range(least=0.340, below=1), "epoch_num"),
)

RGAT = (
    once("global_batch_size", Range(above=0)),
    once("opt_name", Is("adam")),
    once("opt_base_learning_rate", Range(least=0)),
    evaluated(Range(least=0.72, below=1), "epoch_num"),
)

DLRM_DCNV2 = (
    once("global_batch_size"),
    once("opt_name", Is("adagrad")),
    once("opt_base_learning_rate"),
    once("opt_adagrad_learning_rate_decay", Is(0)),
    once("opt_weight_decay", Is(0)),
    once("opt_adagrad_initial_accumulator_value", Is(0)),
    once("opt_adagrad_epsilon", Is(1e-8)),
    once("opt_learning_rate_warmup_steps", Is(0)),
    once("opt_learning_rate_decay_start_step", Is(0)),
    once("opt_learning_rate_decay_steps", Is(0)),
    once("eval_samples", Is(89_137_319)),
    evaluated(Range(least=0.80275, most=1), "epoch_num"),
)

FLUX1 = (
    often("global_batch_size", Range(least=0)),
    once("evaluation_frequency", Is(262_144)),
    *adamw(beta_2=0.95, epsilon=1e-8, weight_decay=0.1),
    once("opt_base_learning_rate", Range(least=0)),
    once("opt_learning_rate_warmup_steps", Range(least=0)),
    once("opt_gradient_clip_norm", Is(1)),
    evaluated(Range(most=0.586, above=0), "samples_count"),
)

LLAMA2_70B_LORA = (
    *each_once(
        "global_batch_size",
        "opt_base_learning_rate",
        "opt_learning_rate_training_steps",
        "opt_gradient_clip_norm",
        "opt_adamw_weight_decay",
        "gradient_accumulation_steps",
        "lora_alpha",
    ),
    once("lora_rank", Is(16)),
    evaluated(Range(most=0.925, above=0), "samples_count"),
)

LLAMA = (
    once("global_batch_size"),
    once("max_sequence_length", Is(8192)),
    *adamw(beta_2=0.95, epsilon=1e-5, weight_decay=0.1),
    once("opt_end_learning_rate"),
    once("opt_learning_rate_decay_schedule", Is("cosine with linear warmup")),
    once("opt_gradient_clip_norm", Is(1)),
    ACCUMULATION,
)


def one_epoch_of_steps(warmup: str = "opt_learning_rate_warmup_steps") -> KeyRule:
    """Decay steps of a language model: what warm-up leaves of 1,200,000."""
    return once(
        "opt_learning_rate_decay_steps",
        Follows(f"1,200,000 - {warmup}", (warmup,), lambda steps: 1_200_000 - steps),
    )


LLAMA31_405B = (
    *LLAMA,
    once(
        "opt_base_learning_rate",
        Follows(
            "8e-5 x global_batch_size / 1152",
            ("global_batch_size",),
            lambda batch: 8e-5 * batch / 1152,
        ),
    ),
    once("opt_learning_rate_warmup_steps"),
    once(
        "opt_learning_rate_decay_steps",
        Follows(
            "1,200,000 x 1152 / global_batch_size, less 8000 x 1152 / global_batch_size, "
            "both rounded up",
            ("global_batch_size",),
            lambda batch: math.ceil(1_200_000 * 1152 / batch) - math.ceil(8000 * 1152 / batch),
        ),
    ),
    once("eval_samples", Is(5760)),
    once("init_checkpoint_step", Is(0)),
    evaluated(Range(most=5.6, above=0), "samples_count"),
)

LLAMA31_8B = (
    *LLAMA,
    *each_once("opt_base_learning_rate", "opt_learning_rate_warmup_steps"),
    one_epoch_of_steps(),
    once("eval_samples", Is(1024)),
    once("max_steps", Is(1_200_000)),
    evaluated(Range(most=3.3, above=0), "samples_count"),
)


def open_llama31_405b(count: str) -> tuple[KeyRule, ...]:
    """What the open division still asks of the large model; its evaluations count epochs or samples."""
    return (
        *each_once("global_batch_size", "opt_end_learning_rate", "opt_learning_rate_decay_steps"),
        *OPEN_ADAMW,
        once("opt_name", Is("adamw")),
        once("max_sequence_length", Is(8192)),
        ACCUMULATION,
        once("eval_samples", Is(5760)),
        once("init_checkpoint_step", Is(0)),
        evaluated(Range(most=5.6, above=0), count),
    )


OPEN_FLUX1 = (
    evaluated(Range(most=0.586, above=0), "samples_count", key="averaged_validation_loss"),
)

CLOSED = {
    "retinanet": RETINANET,
    "flux1": FLUX1,
    "dlrm_dcnv2": DLRM_DCNV2,
    "llama31_8b": LLAMA31_8B,
    "rgat": RGAT,
    "llama2_70b_lora": LLAMA2_70B_LORA,
    "llama31_405b": LLAMA31_405B,
}
OPEN = {
    "retinanet": (evaluated(Range(below=1), "epoch_num"),),
    "flux1": OPEN_FLUX1,
    "dlrm_dcnv2": (evaluated(Range(most=1), "epoch_num"),),
    "llama31_8b": (evaluated(Range(below=1), "epoch_num"),),
    "rgat": (evaluated(Range(below=1), "epoch_num"),),
    "llama2_70b_lora": (evaluated(Range(below=1), "epoch_num"),),
    "llama31_405b": open_llama31_405b("epoch_num"),
}

ROUND = RuleSet(
    name="5.1.0",
    source="mlcommons/logging, compliance_checker, training_5.1.0",
    dialect=Dialect.MLLOG,
    common=COMMON,
    closed_common=(named(tuple(CLOSED)), ACCUMULATION),
    opened_common=(named(tuple(CLOSED)),),
    closed=CLOSED,
    opened=OPEN,
    initialisation_s=INITIALISATION_S,
    runs=RUNS,
    seeds=True,
)

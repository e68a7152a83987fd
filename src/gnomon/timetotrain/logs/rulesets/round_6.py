"""Rounds 6.0 and 6.1: hyperparameters of every benchmark, closed and open division.

Source: mlcommons/logging, compliance_checker, training_6.0.0 and training_6.1.0.
"""

from __future__ import annotations

import math
from dataclasses import replace

from gnomon.timetotrain.logs.constraints import Follows, Is, MultipleOf, OneOf, Range, Said, Whole
from gnomon.timetotrain.logs.rules import KeyRule, each_once, evaluated, often, once, optional
from gnomon.timetotrain.logs.rulesets import round_5_1
from gnomon.timetotrain.logs.rulesets.common import (
    ACCUMULATION,
    COMMON,
    NUMBER_FORMATS,
    OPEN_ADAMW,
    PARALLELISM,
    PRECISIONS,
    adamw,
    named,
)

BATCH = ("global_batch_size",)

GPT_OSS_20B = (
    *round_5_1.LLAMA,
    *each_once("opt_base_learning_rate", "opt_learning_rate_warmup_steps"),
    round_5_1.one_epoch_of_steps(),
    once("eval_samples", Is(1024)),
    once("max_steps", Is(1_200_000)),
    evaluated(Range(most=3.34, above=0), "samples_count"),
)

DEEPSEEK_EVALUATED = evaluated(Range(most=3.6, above=0), "samples_count")
DEEPSEEK = (
    once("global_batch_size", Range(least=15_360)),
    once("max_sequence_length", Is(4096)),
    *adamw(beta_2=0.95, epsilon=1e-8, weight_decay=0.1),
    once(
        "opt_base_learning_rate",
        Follows(
            "2.4e-5 x (global_batch_size / 16384)^0.5, within 1e-9",
            BATCH,
            lambda batch: (
                2.4e-5 * math.sqrt(batch / 16_384) - 1e-9,
                2.4e-5 * math.sqrt(batch / 16_384) + 1e-9,
            ),
        ),
    ),
    once("max_steps"),
    once("opt_learning_rate_warmup_steps", Is(4)),
    once("opt_learning_rate_decay_steps", Is(11_996)),
    once("opt_learning_rate_decay_schedule", Is("cosine with linear warmup")),
    once("opt_gradient_clip_norm", Is(1)),
    once("moe_aux_loss_coeff", Is(0.01)),
    ACCUMULATION,
    once("eval_samples", Is(1024)),
    DEEPSEEK_EVALUATED,
)
OPEN_DEEPSEEK = (
    *OPEN_ADAMW,
    *each_once("max_steps", "opt_learning_rate_decay_steps", "moe_aux_loss_coeff"),
    once("global_batch_size", Range(least=15_360)),
    once("max_sequence_length", Is(4096)),
    once("opt_name", Is("adamw")),
    ACCUMULATION,
    once("eval_samples", Is(1024)),
    DEEPSEEK_EVALUATED,
)
OPEN_GPT_OSS = (
    *OPEN_ADAMW,
    *each_once(
        "opt_end_learning_rate",
        "opt_learning_rate_decay_steps",
        "gradient_accumulation_steps",
        "eval_samples",
        "max_steps",
    ),
    once("max_sequence_length", Is(8192)),
    once("opt_name", Is("adamw")),
    evaluated(Range(most=3.34, above=0), "samples_count"),
)

CLOSED_6_0 = {
    "flux1": round_5_1.FLUX1,
    "dlrm_dcnv2": round_5_1.DLRM_DCNV2,
    "llama31_8b": round_5_1.LLAMA31_8B,
    "llama2_70b_lora": round_5_1.LLAMA2_70B_LORA,
    "llama31_405b": round_5_1.LLAMA31_405B,
    "gpt_oss_20b": GPT_OSS_20B,
    "deepseekv3_671b": DEEPSEEK,
}
OPEN_6_0 = {
    "flux1": round_5_1.OPEN_FLUX1,
    "dlrm_dcnv2": round_5_1.OPEN["dlrm_dcnv2"],
    "llama31_8b": (evaluated(Range(below=1), "samples_count"),),
    "llama2_70b_lora": (evaluated(Range(below=1), "samples_count"),),
    "llama31_405b": round_5_1.open_llama31_405b("samples_count"),
    "gpt_oss_20b": OPEN_GPT_OSS,
    "deepseekv3_671b": OPEN_DEEPSEEK,
}

ROUND_6_0 = replace(
    round_5_1.ROUND,
    name="6.0.0",
    source="mlcommons/logging, compliance_checker, training_6.0.0",
    common=(
        *COMMON,
        *(optional(key, OneOf(NUMBER_FORMATS)) for key in PRECISIONS),
        *(optional(key, Whole()) for key in PARALLELISM),
        optional("config_filename"),
    ),
    closed_common=(named(tuple(CLOSED_6_0)), ACCUMULATION),
    opened_common=(named(tuple(CLOSED_6_0)),),
    closed=CLOSED_6_0,
    opened=OPEN_6_0,
)


def changed(rules: tuple[KeyRule, ...], *newer: KeyRule) -> tuple[KeyRule, ...]:
    """The rules with some replaced."""
    keys = {rule.key for rule in newer}
    return (*(rule for rule in rules if rule.key not in keys), *newer)


FLUX1_6_1 = changed(
    round_5_1.FLUX1,
    once(
        "evaluation_frequency",
        Follows(
            "262,144 samples rounded up to whole batches",
            BATCH,
            lambda batch: math.ceil(262_144 / batch) * batch,
        ),
    ),
)
DEEPSEEK_6_1 = changed(
    DEEPSEEK,
    replace(
        DEEPSEEK_EVALUATED,
        first_metadata={
            "samples_count": Follows(
                "global_batch_size x floor(42 + 24576 / global_batch_size)",
                BATCH,
                lambda batch: batch * math.floor(42 + 24_576 / batch),
            )
        },
    ),
)

QWEN_SHARED = (
    once("max_sequence_length", Is(65_536)),
    once("eval_samples", Is(251)),
    once("init_checkpoint_step", Is(0)),
    once("max_steps"),
    once("num_prompts_per_step", Whole(least=1)),
)
QWEN_TARGET = Range(above=0.69)
QWEN = (
    *QWEN_SHARED,
    once("global_batch_size", Whole(least=1)),
    *adamw(beta_2=0.999, epsilon=1e-8, weight_decay=0.0),
    once(
        "opt_base_learning_rate",
        Follows(
            "1e-6 x (global_batch_size / 256)^0.5, within 1e-9",
            BATCH,
            lambda batch: (
                1e-6 * math.sqrt(batch / 256) - 1e-9,
                1e-6 * math.sqrt(batch / 256) + 1e-9,
            ),
        ),
    ),
    once(
        "opt_gradient_clip_norm",
        Follows(
            "0.125 x (256 / global_batch_size)^0.5, within 1e-9",
            BATCH,
            lambda batch: (
                0.125 * math.sqrt(256 / batch) - 1e-9,
                0.125 * math.sqrt(256 / batch) + 1e-9,
            ),
        ),
    ),
    once("opt_learning_rate_warmup_steps", Is(0)),
    once("opt_learning_rate_decay_schedule", Is("constant")),
    once("generation_training_rollout_temperature", Is(1)),
    once("generation_training_rollout_top_p", Is(1)),
    once("generation_validation_rollout_temperature", Is(0.1)),
    once("generation_validation_rollout_top_p", Is(0.95)),
    # 16 generations of every prompt, and a batch of nothing else.
    once(
        "num_generations_per_prompt",
        Follows(
            "16, and global_batch_size / num_prompts_per_step",
            ("global_batch_size", "num_prompts_per_step"),
            lambda batch, prompts: 16 if batch == 16 * prompts else math.inf,
        ),
    ),
    often(
        "eval_accuracy",
        Range(least=0, most=1),
        metadata={
            "samples_count": Follows(
                "global_batch_size x (ceil(2.5 + 3840 / global_batch_size) + evaluations before)",
                ("global_batch_size", "evaluation"),
                lambda batch, before: batch * (math.ceil(2.5 + 3840 / batch) + before),
            )
        },
        target=QWEN_TARGET,
    ),
)
OPEN_QWEN = (
    *QWEN_SHARED,
    *OPEN_ADAMW,
    *each_once(
        "generation_training_rollout_temperature",
        "generation_training_rollout_top_p",
        "generation_validation_rollout_temperature",
        "generation_validation_rollout_top_p",
    ),
    once("global_batch_size", Whole(least=1)),
    once("opt_name", Is("adamw")),
    once("num_generations_per_prompt", Whole(least=1)),
    evaluated(QWEN_TARGET, "samples_count", value=Range(least=0, most=1)),
)

DLRMV4_SAMPLES = 2_290_835_423


def evaluation_interval(batch: float) -> float:
    """Samples between evaluations: a thousandth of the data in whole batches, rounded up."""
    return max(1, math.ceil(0.001 * DLRMV4_SAMPLES / batch)) * batch


def first_evaluation(batch: float) -> float:
    """Samples before the first evaluation: the reference's earliest convergence, on the grid."""
    interval = evaluation_interval(batch)
    earliest = math.floor((4480 * batch + 135_331_840) / 3)
    return math.ceil(earliest / interval) * interval


RATE_BAND = Follows(
    "within half and 1.5 times 1e-6 x global_batch_size / 8192",
    BATCH,
    lambda batch: (0.5e-6 * batch / 8192, 1.5e-6 * batch / 8192),
)
DLRMV4_SHARED = (
    once("global_batch_size", Whole(least=1)),
    once("train_samples", Is(DLRMV4_SAMPLES)),
    once("eval_samples", Is(2_058_204)),
    once("opt_base_learning_rate", RATE_BAND),
)
DLRMV4_TARGET = Range(least=0.75)
DLRMV4 = (
    *DLRMV4_SHARED,
    once("max_sequence_length", Is(4096)),
    once("opt_name", Is("Adam")),
    once("opt_adam_beta_1", Is(0.95)),
    once("opt_adam_beta_2", Is(0.999)),
    once("opt_adam_epsilon", Is(1e-8)),
    once("opt_weight_decay", Is(0)),
    once("opt_gradient_clip_norm", Is(1)),
    once("opt_sparse_name", Is("RowWiseAdagrad")),
    once(
        "opt_sparse_base_learning_rate",
        Follows("opt_base_learning_rate", ("opt_base_learning_rate",), lambda rate: rate),
    ),
    once("opt_learning_rate_warmup_steps", Is(24_000)),
    once("opt_learning_rate_warmup_start_lr", Is(0)),
    once("eval_every_data_pct", Is(0.001)),
    often(
        "eval_accuracy",
        Range(least=0, most=1),
        metadata={
            "samples_count": MultipleOf(
                "a thousandth of the training samples in whole batches", BATCH, evaluation_interval
            )
        },
        first_metadata={
            "samples_count": Follows(
                "the reference's earliest convergence at this batch size, on the grid of evaluations",
                BATCH,
                first_evaluation,
            )
        },
        target=DLRMV4_TARGET,
    ),
)
OPEN_DLRMV4 = (
    *DLRMV4_SHARED,
    once("gradient_accumulation_steps", Whole(least=1)),
    once("max_sequence_length", Whole(least=1)),
    *each_once(
        "opt_name",
        "opt_adam_beta_1",
        "opt_adam_beta_2",
        "opt_adam_epsilon",
        "opt_weight_decay",
        "opt_gradient_clip_norm",
        "opt_sparse_name",
        "opt_learning_rate_warmup_steps",
        "opt_learning_rate_warmup_start_lr",
        "eval_every_data_pct",
    ),
    once("opt_sparse_base_learning_rate", RATE_BAND),
    evaluated(DLRMV4_TARGET, "samples_count", value=Range(least=0, most=1)),
)

CLOSED_6_1 = {
    "flux1": FLUX1_6_1,
    "llama31_8b": round_5_1.LLAMA31_8B,
    "llama2_70b_lora": round_5_1.LLAMA2_70B_LORA,
    "gpt_oss_20b": GPT_OSS_20B,
    "deepseekv3_671b": DEEPSEEK_6_1,
    "qwen35_397b_grpo": QWEN,
    "dlrmv4": DLRMV4,
}
OPEN_6_1 = {
    **{name: rules for name, rules in OPEN_6_0.items() if name in CLOSED_6_1},
    "qwen35_397b_grpo": OPEN_QWEN,
    "dlrmv4": OPEN_DLRMV4,
}

ROUND_6_1 = replace(
    ROUND_6_0,
    name="6.1.0",
    source="mlcommons/logging, compliance_checker, training_6.1.0",
    common=(
        *COMMON,
        *(once(key, OneOf((*NUMBER_FORMATS, "mxfp6"))) for key in PRECISIONS),
        *(once(key, Whole(least=1)) for key in PARALLELISM),
        once("config_filename", Said()),
    ),
    closed_common=(named(tuple(CLOSED_6_1)), ACCUMULATION),
    opened_common=(named(tuple(CLOSED_6_1)),),
    closed=CLOSED_6_1,
    opened=OPEN_6_1,
)

"""The rules that every round since v0.7 shares, and the keys of optimisers that many benchmarks share.

Source: mlcommons/logging, compliance_checker, training_5.1.0 to training_6.1.0, common and closed_common.
"""

from __future__ import annotations

from gnomon.timetotrain.logs.constraints import Is, OneOf, Range, Said
from gnomon.timetotrain.logs.rules import KeyRule, Runs, each_once, often, once

COUNTS = ("epoch_num", "samples_count")

MILESTONES = (
    often("init_start", not_after=("init_stop", "run_start")),
    once("init_stop", after=("init_start",), not_after=("run_start",), unique=True),
    once("run_start", after=("init_stop",), unique=True),
    once(
        "run_stop",
        after=("run_start",),
        unique=True,
        metadata={"status": OneOf(("success", "aborted"))},
    ),
)

COMMON: tuple[KeyRule, ...] = (
    once("submission_org", Said()),
    once("submission_platform", Said()),
    once("submission_division", OneOf(("closed", "open"))),
    often("cache_clear"),
    *MILESTONES,
    often(
        "block_start",
        or_else=("epoch_start",),
        after=("run_start",),
        one_of_metadata=("epoch_count", "samples_count"),
        metadata_needs=(("epoch_count", "first_epoch_num"),),
        metadata_if_there={"epoch_count": Range(above=0), "samples_count": Range(least=0)},
    ),
    often(
        "block_stop",
        or_else=("epoch_stop",),
        one_of_metadata=("first_epoch_num", "samples_count"),
    ),
    often("epoch_start", or_else=("block_start",), one_of_metadata=COUNTS),
    often("epoch_stop", or_else=("block_stop",), one_of_metadata=COUNTS),
    often("eval_start", or_else=("block_start",), one_of_metadata=COUNTS),
    often("eval_stop", or_else=("block_stop",), one_of_metadata=COUNTS),
    often("eval_accuracy", one_of_metadata=COUNTS),
    once("train_samples", Said()),
    once("eval_samples", Said()),
)

ACCUMULATION = once("gradient_accumulation_steps", Range(above=0))
INITIALISATION_S = {"closed": 30 * 60.0, "open": 240 * 60.0}

NUMBER_FORMATS = (
    "fp64",
    "fp32",
    "tf32",
    "fp16",
    "fp8",
    "nvfp4",
    "mxfp4",
    "bfloat16",
    "Graphcore FLOAT 16.16",
    "int8",
    "uint8",
    "int4",
    "uint4",
)
PARALLELISM = (
    "tensor_parallelism",
    "pipeline_parallelism",
    "context_parallelism",
    "expert_parallelism",
    "micro_batch_size",
)
PRECISIONS = tuple(f"lowest_numerical_precision_in_{where}" for where in ("linear", "attn", "comm"))


def named(benchmarks: tuple[str, ...]) -> KeyRule:
    """The benchmark's name, one of the round's."""
    return once("submission_benchmark", OneOf(benchmarks))


def adamw(beta_2: float, epsilon: float, weight_decay: float) -> tuple[KeyRule, ...]:
    """AdamW with everything fixed but the learning rate."""
    return (
        once("opt_name", Is("adamw")),
        once("opt_adamw_beta_1", Is(0.9)),
        once("opt_adamw_beta_2", Is(beta_2)),
        once("opt_adamw_epsilon", Is(epsilon)),
        once("opt_adamw_weight_decay", Is(weight_decay)),
    )


OPEN_ADAMW = each_once(
    "opt_base_learning_rate",
    "opt_learning_rate_warmup_steps",
    "opt_learning_rate_decay_schedule",
    "opt_adamw_beta_1",
    "opt_adamw_beta_2",
    "opt_adamw_epsilon",
    "opt_adamw_weight_decay",
    "opt_gradient_clip_norm",
)

# mlcommons/logging, benchmark_meta; the table in training_policies says the same.
RUNS = {
    "bert": Runs(10),
    "deepseekv3_671b": Runs(3),
    "dlrm": Runs(5),
    "dlrm_dcnv2": Runs(10),
    "dlrmv4": Runs(10),
    "flux1": Runs(10),
    "gnmt": Runs(10),
    "gnn": Runs(10),
    "gpt3": Runs(3),
    "gpt_oss_20b": Runs(10),
    "llama2_70b_lora": Runs(10),
    "llama31_405b": Runs(3),
    "llama31_8b": Runs(10),
    "maskrcnn": Runs(5),
    "minigo": Runs(10),
    "ncf": Runs(10),
    "qwen35_397b_grpo": Runs(3),
    "resnet": Runs(5),
    "retinanet": Runs(5),
    "rgat": Runs(10),
    "rnnt": Runs(10),
    "ssd": Runs(5),
    "stable_diffusion": Runs(10),
    "transformer": Runs(10),
    "unet3d": Runs(40, dropped=4),
}

"""Logs that hold whatever a rule set asks of a benchmark, made from the rules themselves."""

from __future__ import annotations

from gnomon.timetotrain.logs import training_entry
from gnomon.timetotrain.logs.rulesets import RULESETS
from tests.timetotrain.logs.example import run_entries

# Values that satisfy every formula at a batch of 1152 samples, or as the benchmark asks.
HYPERPARAMETERS = {
    "opt_base_learning_rate": 8e-5,
    "opt_learning_rate_warmup_steps": 8000,
    "opt_learning_rate_decay_steps": 1_192_000,
    "global_batch_size": 1152,
    "evaluation_frequency": 228 * 1152,
}
BY_BENCHMARK = {
    "dlrm_dcnv2": {"opt_learning_rate_warmup_steps": 0, "opt_learning_rate_decay_steps": 0},
    "deepseekv3_671b": {
        "global_batch_size": 16_384,
        "opt_base_learning_rate": 2.4e-5,
        "opt_learning_rate_warmup_steps": 4,
        "opt_learning_rate_decay_steps": 11_996,
    },
    "qwen35_397b_grpo": {
        "global_batch_size": 256,
        "num_prompts_per_step": 16,
        "num_generations_per_prompt": 16,
        "opt_base_learning_rate": 1e-6,
        "opt_gradient_clip_norm": 0.125,
        "opt_learning_rate_warmup_steps": 0,
    },
    "dlrmv4": {
        "global_batch_size": 8192,
        "opt_base_learning_rate": 1e-6,
        "opt_sparse_base_learning_rate": 1e-6,
        "opt_learning_rate_warmup_steps": 24_000,
    },
}
SAMPLES = {  # at the first evaluation, and between evaluations
    "deepseekv3_671b": (16_384 * 43, 16_384),
    "qwen35_397b_grpo": (256 * 18, 256),
    "dlrmv4": (2_293_760 * 25, 2_293_760),
}


def as_asked(benchmark, ruleset, division):
    """The entries of a run of this benchmark that passes."""
    chosen = HYPERPARAMETERS | BY_BENCHMARK.get(benchmark, {})
    # The field's checker reads the inputs of its formulas in the order of the log.
    hyperparameters = {"global_batch_size": chosen["global_batch_size"]}
    logged_anyway = {entry.key for entry in run_entries(hyperparameters={})}
    quality_key, quality = "eval_accuracy", 0.5
    for rule in RULESETS[ruleset].key_rules(benchmark, division):
        if rule.target is not None:
            quality_key = rule.key
            quality = next(q for q in (0.5, 0.7, 0.75, 0.803, 2.0) if rule.target.holds(q, {}))
        elif rule.key not in logged_anyway and not rule.key.startswith(("block_", "averaged_")):
            hyperparameters[rule.key] = value_for(rule, chosen, {**hyperparameters, **chosen})
    entries = run_entries(
        benchmark, division=division, hyperparameters=hyperparameters, qualities=(quality,) * 2
    )
    return list(counted(entries, quality_key, *SAMPLES.get(benchmark, (1152, 1152))))


def value_for(rule, chosen, known):
    """The first value that the rule accepts: the one it names, the chosen one, or any."""
    named = getattr(rule.value, "value", None), *getattr(rule.value, "values", ())[:1]
    candidates = (*named, chosen.get(rule.key), 1, 0, "text")
    return next(
        value
        for value in candidates
        if value is not None and (rule.value is None or rule.value.holds(value, known))
    )


def counted(entries, quality_key, first, step):
    """The entries with samples counted at each evaluation, and the quality under its key too."""
    samples = first
    for entry in entries:
        metadata = dict(entry.metadata)
        keys = [entry.key]
        if entry.key == "eval_accuracy":
            metadata["samples_count"] = samples
            samples += step
            keys = list(dict.fromkeys([entry.key, quality_key]))
        for key in keys:
            yield training_entry(key, entry.value, time_ms=entry.time_ms, metadata=metadata)

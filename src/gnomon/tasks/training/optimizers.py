"""Optimisers and learning rate schedules of the training tasks, made from the field's log keys.

A key that the chosen optimiser and schedule do not read is refused, so that no run is logged with a
hyperparameter that had no effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from gnomon.core.errors import MissingExtraError, SettingsError, nearest_name
from gnomon.timetotrain.task import Recipe

try:
    import torch
    from torch import Tensor, nn
    from torch.optim import SGD, Adam, AdamW, Optimizer
    from torch.optim.lr_scheduler import LambdaLR, LRScheduler
except ImportError as error:
    raise MissingExtraError("torch", "train", "training") from error

Factor: TypeAlias = Callable[[int], float]
"""From the number of steps taken to what the base learning rate is multiplied with."""

ALWAYS = ("opt_name", "opt_base_learning_rate", "opt_gradient_clip_norm")
"""Read whatever the optimiser; gradients are clipped by the training loop."""

OPTIMIZERS = {
    "sgd": ("opt_sgd_momentum", "opt_weight_decay"),
    "lars": ("opt_sgd_momentum", "opt_weight_decay", "lars_epsilon", "lars_trust_coefficient"),
    "adam": ("opt_adam_beta_1", "opt_adam_beta_2", "opt_adam_epsilon", "opt_weight_decay"),
    "adamw": (
        "opt_adamw_beta_1",
        "opt_adamw_beta_2",
        "opt_adamw_epsilon",
        "opt_adamw_weight_decay",
    ),
}
"""By `opt_name`: the keys it reads."""

WARM_UP = ("opt_learning_rate_warmup_steps", "opt_learning_rate_warmup_factor")
"""Steps over which the rate grows linearly, and the share of the base rate it grows from (0)."""

SCHEDULES = {
    "constant": (),
    "cosine": ("opt_learning_rate_decay_steps", "opt_end_learning_rate"),
    "polynomial": (
        "opt_learning_rate_decay_steps",
        "opt_learning_rate_decay_poly_power",
        "opt_end_learning_rate",
    ),
    "multistep": ("opt_learning_rate_decay_boundary_steps", "opt_learning_rate_decay_factor"),
    "inverse-square-root": (),
}
"""By `opt_learning_rate_decay_schedule`: the keys it reads. Steps are counted from the first of the run,
except that `opt_learning_rate_decay_steps` counts from the end of the warm-up."""


def make_optimizer(
    model: nn.Module, recipe: Recipe, *, decay_vectors: bool = True
) -> tuple[Optimizer, LRScheduler | None]:
    """The optimiser of a recipe, and its schedule if the learning rate ever changes.

    Args:
        model: What is optimised, already where it trains.
        recipe: With at least `opt_name` and `opt_base_learning_rate`.
        decay_vectors: Whether weight decay acts on biases and normalisation too (parameters of one
            dimension). The field's ResNet-50 leaves them out.

    Raises:
        SettingsError: A hyperparameter is missing, out of range, or read by nothing.
    """
    name = _choice(recipe, "opt_name", OPTIMIZERS, None)
    schedule = _choice(recipe, "opt_learning_rate_decay_schedule", SCHEDULES, "constant")
    _refuse_unread(recipe, name, schedule)
    rate = _number(recipe, "opt_base_learning_rate", None, above=0)
    decay_key = "opt_adamw_weight_decay" if name == "adamw" else "opt_weight_decay"
    decay = _number(recipe, decay_key, 0.01 if name == "adamw" else 0.0)
    groups = _groups(model, decay, decay_vectors and name != "lars")
    # One kernel over all parameters: several times faster than one call each where models are small.
    fused = torch.device(recipe.device).type in ("cpu", "cuda")
    optimizer: Optimizer
    if name in ("sgd", "lars"):
        momentum = _number(recipe, "opt_sgd_momentum", 0.0, below=1)
        if name == "sgd":
            optimizer = SGD(groups, lr=rate, momentum=momentum, fused=fused)
        else:
            optimizer = Lars(
                groups,
                rate,
                momentum,
                trust_coefficient=_number(recipe, "lars_trust_coefficient", 0.001, above=0),
                epsilon=_number(recipe, "lars_epsilon", 0.0),
            )
    else:
        betas = (
            _number(recipe, f"opt_{name}_beta_1", 0.9, below=1),
            _number(recipe, f"opt_{name}_beta_2", 0.999, below=1),
        )
        epsilon = _number(recipe, f"opt_{name}_epsilon", 1e-8)
        made = Adam if name == "adam" else AdamW
        optimizer = made(groups, lr=rate, betas=betas, eps=epsilon, fused=fused)
    factor = learning_rate_factor(recipe)
    return optimizer, LambdaLR(optimizer, factor) if factor else None


def learning_rate_factor(recipe: Recipe) -> Factor | None:
    """What the base learning rate is multiplied with after so many steps; None if always 1.

    Raises:
        SettingsError: A hyperparameter of the schedule is missing or out of range.
    """
    warm_up = int(_number(recipe, "opt_learning_rate_warmup_steps", 0))
    start = _number(recipe, "opt_learning_rate_warmup_factor", 0.0)
    name = _choice(recipe, "opt_learning_rate_decay_schedule", SCHEDULES, "constant")
    if name == "constant" and not warm_up:
        return None
    decayed = _decay(recipe, name, warm_up)

    def factor(step: int) -> float:
        if step < warm_up:
            return start + (1 - start) * (step + 1) / warm_up
        return decayed(step)

    return factor


def _decay(recipe: Recipe, name: str, warm_up: int) -> Factor:
    """The factor from the end of the warm-up on."""
    if name == "constant":
        return lambda step: 1.0
    if name == "inverse-square-root":
        # Vaswani et al. 2017, section 5.3, scaled to 1 at the end of the warm-up.
        return lambda step: math.sqrt(max(warm_up, 1) / (step + 1))
    if name == "multistep":
        boundaries = _steps(recipe, "opt_learning_rate_decay_boundary_steps")
        drop = _number(recipe, "opt_learning_rate_decay_factor", None, above=0)
        return lambda step: drop ** sum(step >= boundary for boundary in boundaries)
    last = _number(recipe, "opt_learning_rate_decay_steps", None, above=0)
    rate = _number(recipe, "opt_base_learning_rate", None, above=0)
    end = _number(recipe, "opt_end_learning_rate", 0.0) / rate
    if name == "cosine":
        return lambda step: (
            end + (1 - end) * (1 + math.cos(math.pi * min((step - warm_up) / last, 1.0))) / 2
        )
    power = _number(recipe, "opt_learning_rate_decay_poly_power", 1.0, above=0)
    return lambda step: end + (1 - end) * (1 - min((step - warm_up) / last, 1.0)) ** power


class Lars(Optimizer):
    """Layer-wise adaptive rate scaling: You, Gitman, Ginsburg 2017 (arXiv:1708.03888), algorithm 1.

    The learning rate of a layer is multiplied with `trust_coefficient * |w| / (|g| + decay * |w| + epsilon)`.
    Parameters of one dimension take plain steps of momentum without decay, as the field's ResNet-50 does.

    Args:
        params: Parameters or groups, each group with its own `weight_decay`.
        lr: Learning rate.
        momentum: Share of the last step that is taken again.
        trust_coefficient: How far a layer may move, as a share of its norm.
        epsilon: Added to the denominator.
    """

    def __init__(
        self,
        params: list[dict[str, object]],
        lr: float,
        momentum: float,
        *,
        trust_coefficient: float,
        epsilon: float,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})
        self._momentum, self._trust, self._epsilon = momentum, trust_coefficient, epsilon

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step; no closure is called."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group["lr"], group["weight_decay"])

    def _move(self, weight: Tensor, rate: float, decay: float) -> None:
        gradient = weight.grad
        assert gradient is not None
        if weight.ndim > 1:
            size, slope = weight.norm(), gradient.norm()
            trust = self._trust * size / (slope + decay * size + self._epsilon)
            # Both norms are zero at the start of a layer that begins at zero: it takes a plain step.
            trust = torch.where((size > 0) & (slope > 0), trust, torch.ones_like(trust))
            gradient = gradient.add(weight, alpha=decay) * trust
        state = self.state[weight]
        if "step" not in state:
            state["step"] = torch.zeros_like(weight)
        weight.sub_(state["step"].mul_(self._momentum).add_(gradient, alpha=rate))


def _groups(model: nn.Module, decay: float, decay_vectors: bool) -> list[dict[str, object]]:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if decay_vectors or not decay:
        return [{"params": trained, "weight_decay": decay}]
    return [
        {"params": [weight for weight in trained if weight.ndim > 1], "weight_decay": decay},
        {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
    ]


def _refuse_unread(recipe: Recipe, name: str, schedule: str) -> None:
    read = {
        *ALWAYS,
        *OPTIMIZERS[name],
        *WARM_UP,
        "opt_learning_rate_decay_schedule",
        *SCHEDULES[schedule],
    }
    for key in recipe.hyperparameters:
        if key.startswith(("opt_", "lars_")) and key not in read:
            nearest = nearest_name(key, read)
            mend = f"did you mean {nearest}?" if nearest else f"leave it out, of {sorted(read)}"
            raise SettingsError(
                f"hyperparameter {key} is read by neither {name} nor the {schedule} schedule: {mend}"
            )


def _choice(
    recipe: Recipe, key: str, known: dict[str, tuple[str, ...]], default: str | None
) -> str:
    value = recipe.hyperparameters.get(key, default)
    if value not in known:
        raise SettingsError(
            f"hyperparameter {key} must be {', '.join(sorted(known))}, got {value!r} "
            f"(--set {key}={min(known)})"
        )
    return value


def _number(
    recipe: Recipe,
    key: str,
    default: float | None,
    *,
    above: float | None = None,
    below: float = math.inf,
) -> float:
    """A hyperparameter that is at least 0, or `above` something; without default it must be there."""
    if default is not None and key not in recipe.hyperparameters:
        return default
    value = recipe.number(key)
    if not (0 <= value < below) or (above is not None and value <= above):
        least = "at least 0" if above is None else f"above {above:g}"
        most = "" if below == math.inf else f" and below {below:g}"
        raise SettingsError(f"hyperparameter {key} must be {least}{most}, got {value:g}")
    return value


def _steps(recipe: Recipe, key: str) -> list[int]:
    """A hyperparameter that is a list of steps, written `32000,48000`."""
    value = recipe.hyperparameters.get(key)
    try:
        steps = [int(part) for part in str(value).split(",")]
    except ValueError:
        steps = []
    if not steps or steps != sorted(steps) or steps[0] < 0:
        raise SettingsError(
            f"hyperparameter {key} must be growing numbers of steps, got {value!r} "
            f"(--set {key}=32000,48000)"
        )
    return steps

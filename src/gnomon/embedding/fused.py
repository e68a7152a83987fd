"""The optimiser's step inside the backward pass: the array's gradient never stands in memory.

`RobeEmbeddingBag(..., fused="sgd")`; as FBGEMM's table-batched embeddings do it. The array gets no gradient,
so that no other optimiser touches it.
"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

from gnomon.core.errors import MissingExtraError, SettingsError
from gnomon.embedding import functional
from gnomon.embedding.bags import Pooling

try:
    import torch
    from torch import Tensor

    from gnomon.embedding import ops
    from gnomon.embedding.ops import layout_of, narrow, numpy_of, on_kernel, robe_backward, wide
except ImportError as error:
    raise MissingExtraError("torch", "train", "the embedding in torch") from error

Fused = Literal["sgd", "adagrad"]


def check_fused(fused: Any, learning_rate: float, epsilon: float, cell: int) -> Fused | None:
    """The settings of a fused optimiser.

    Raises:
        SettingsError: One is out of range.
    """
    if fused is not None and fused not in get_args(Fused):
        raise SettingsError(f"fused must be sgd or adagrad, got {fused!r}")
    if not learning_rate > 0:
        raise SettingsError(f"learning_rate must be positive, got {learning_rate!r}")
    if not epsilon >= 0:
        raise SettingsError(f"epsilon must not be negative, got {epsilon!r}")
    if isinstance(cell, bool) or not isinstance(cell, int) or cell < 1:
        raise SettingsError(f"cell must be a whole number of at least 1, got {cell!r}")
    return cast("Fused | None", fused)


def fused_lookup(weight: Tensor, state: Tensor | None, *arguments: Any) -> Tensor:
    """A lookup whose backward pass steps the array: with plain descent, or with Adagrad if it has a state.

    Args:
        weight: The array.
        state: float32 (cells,), or None.
        arguments: Indices, offsets, weights, learning_rate, epsilon, cell, layout, pooling.

    Raises:
        SettingsError: Several processes train together.
    """
    _refuse_processes()
    return cast("Tensor", _FusedLookup.apply(weight, state, *arguments))  # type: ignore[no-untyped-call]


class _FusedLookup(torch.autograd.Function):
    """A lookup whose backward pass steps the array and hands no gradient on to it."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        state: Tensor | None,
        indices: Tensor,
        offsets: Tensor | None,
        weights: Tensor | None,
        *settings: Any,
    ) -> Tensor:
        ctx.settings = settings
        # The array itself, not a saved tensor: a module called twice steps it twice, and autograd would
        # take the second step's array for one that was changed behind its back.
        ctx.weight, ctx.state = weight, state
        needed = weights is not None and weights.requires_grad
        ctx.save_for_backward(weight if needed else None, indices, offsets, weights)
        return cast(
            "Tensor", ops.robe_lookup(weight, indices, offsets, weights, settings[-2], settings[-1])
        )

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        array, indices, offsets, weights = ctx.saved_tensors
        learning_rate, epsilon, cell, layout, mode = ctx.settings
        of_weights = None
        if array is not None:
            found = ops.robe_weight_gradient(array, indices, gradient, offsets, layout)
            of_weights = found.to(weights.dtype)
        with torch.no_grad():
            common = (gradient, indices, offsets, weights, learning_rate)
            if ctx.state is None:
                robe_sgd_(ctx.weight, *common, layout, mode)
            else:
                robe_adagrad_(ctx.weight, ctx.state, *common, epsilon, cell, layout, mode)
        return None, None, None, None, of_weights, None, None, None, None, None


@torch.library.custom_op("gnomon::robe_sgd_", mutates_args=("array",))
def robe_sgd_(
    array: Tensor,
    gradient: Tensor,
    indices: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
    learning_rate: Tensor,
    layout: str,
    pooling: str,
) -> None:
    """Gradient of the array and a step of gradient descent in one pass, in place."""
    if on_kernel(array, "cpu"):
        functional.sgd(
            numpy_of(array),
            layout_of(layout),
            numpy_of(indices),
            numpy_of(narrow(gradient)),
            numpy_of(offsets),
            numpy_of(narrow(weights)),
            learning_rate=float(learning_rate),
            pooling=cast("Pooling", pooling),
            threads=torch.get_num_threads(),
        )
        return
    total = robe_backward(wide(gradient), indices, offsets, weights, layout, pooling)
    array.copy_(wide(array) - float(learning_rate) * total)


@torch.library.custom_op("gnomon::robe_adagrad_", mutates_args=("array", "state"))
def robe_adagrad_(
    array: Tensor,
    state: Tensor,
    gradient: Tensor,
    indices: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
    learning_rate: Tensor,
    epsilon: float,
    cell: int,
    layout: str,
    pooling: str,
) -> None:
    """Gradient of the array and a step of Adagrad in one pass, in place; state: float32 (cells,)."""
    if on_kernel(array, "cpu"):
        functional.adagrad(
            numpy_of(array),
            numpy_of(state),
            layout_of(layout),
            numpy_of(indices),
            numpy_of(narrow(gradient)),
            numpy_of(offsets),
            numpy_of(narrow(weights)),
            learning_rate=float(learning_rate),
            epsilon=epsilon,
            cell=cell,
            pooling=cast("Pooling", pooling),
            threads=torch.get_num_threads(),
        )
        return
    total = robe_backward(wide(gradient), indices, offsets, weights, layout, pooling)
    # The last cell may be cut short: its mean is over the weights that it has.
    size = len(array)
    padded = torch.nn.functional.pad(total.to(state.dtype), (0, len(state) * cell - size))
    held = torch.full_like(state, cell)
    held[-1] -= len(state) * cell - size
    state.add_(padded.view(-1, cell).square().sum(1) / held)
    step = padded.view(-1, cell) / (state.sqrt()[:, None] + epsilon)
    # A cell without gradient has a step of 0 / (root + epsilon); 0 / 0 if epsilon is 0.
    array.copy_(wide(array) - float(learning_rate) * step.nan_to_num().view(-1)[:size])


def _refuse_processes() -> None:
    """A fused step never meets the other processes' gradients: each would train an array of its own.

    Raises:
        SettingsError: Several processes train together.
    """
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        count = distributed.get_world_size()
        if count > 1:
            raise SettingsError(
                f"a fused optimiser trains in one process, and {count} train together: leave out fused "
                f"and give the array to an optimiser of your own"
            )

"""The lookup and its gradients as torch operators, which autograd, torch.compile and export know.

`torch.ops.gnomon.robe_lookup(array, indices, offsets, weights, layout, pooling)` and its kin. A layout is
passed as its JSON text: a constant in a compiled graph, complete in an exported one, the same in every
process. float32 and bfloat16 on the CPU go to `functional`, CUDA to `triton_kernels`, everything else to
`ops_reference`. Outputs have the array's type, as those of `torch.nn.EmbeddingBag`.

Lookup, gradient of the array and gradient of the weights are linear in each of their inputs, and each
one's gradients are the other two: derivatives of any order exist.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, cast

from gnomon.core.errors import DataError, MissingExtraError, SettingsError
from gnomon.embedding import functional, ops_reference
from gnomon.embedding.bags import Pooling
from gnomon.embedding.layout import RobeLayout

try:
    import torch
    from torch import Tensor
except ImportError as error:
    raise MissingExtraError("torch", "train", "the embedding in torch") from error

FLOATS = (torch.float32, torch.bfloat16, torch.float64, torch.float16)


def layout_text(layout: RobeLayout) -> str:
    """The layout as the operators take it."""
    return json.dumps(layout.as_dict(), separators=(",", ":"))


@lru_cache(maxsize=1024)
def layout_of(text: str) -> RobeLayout:
    """The layout of a text, made once.

    Raises:
        SettingsError: This is not the text of a layout.
    """
    try:
        stored = json.loads(text)
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        raise SettingsError(
            f"this is not the JSON text of an embedding layout: {text[:40]!r}; use layout_text(layout)"
        )
    return RobeLayout.from_dict(stored)


@torch.library.custom_op("gnomon::robe_lookup", mutates_args=())
def robe_lookup(
    array: Tensor,
    indices: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
    layout: str,
    pooling: str,
) -> Tensor:
    """Pooled rows, (batch, tables, dim) of the array's type. Forms of the indices: `bags.Bags`.

    Args:
        array: The weights (size,).
        indices: (batch, tables), (batch, tables, L), or (N,) with offsets.
        offsets: (tables * batch + 1,), or None.
        weights: One for each index, or None.
        layout: `layout_text(layout)`.
        pooling: "sum" or "mean".

    Raises:
        DataError: What does not fit together.
        SettingsError: Settings that mean nothing.
    """
    found, kind = layout_of(layout), cast("Pooling", pooling)
    _check_tensors(found, array, indices, offsets, weights)
    if on_kernel(array, "cpu"):
        pooled = functional.lookup(
            numpy_of(array.contiguous()),
            found,
            numpy_of(indices),
            numpy_of(offsets),
            numpy_of(narrow(weights)),
            pooling=kind,
            threads=torch.get_num_threads(),
        )
        return torch.from_numpy(pooled).to(array.dtype)
    if on_kernel(array, "cuda"):
        return cast(
            "Tensor",
            _triton().lookup(
                array.contiguous(), found, indices, offsets, narrow(weights), pooling=pooling
            ),
        )
    out = ops_reference.lookup(wide(array), found, indices, offsets, weights, kind)
    return out.to(array.dtype)


@torch.library.custom_op("gnomon::robe_backward", mutates_args=())
def robe_backward(
    gradient: Tensor,
    indices: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
    layout: str,
    pooling: str,
) -> Tensor:
    """Gradient of the array, (size,) of the type of the output's gradient; summed in float32 or better."""
    found, kind = layout_of(layout), cast("Pooling", pooling)
    if on_kernel(gradient, "cpu"):
        summed = functional.backward(
            found,
            numpy_of(indices),
            numpy_of(narrow(gradient)),
            numpy_of(offsets),
            numpy_of(narrow(weights)),
            pooling=kind,
            threads=torch.get_num_threads(),
        )
        return torch.from_numpy(summed).to(gradient.dtype)
    if on_kernel(gradient, "cuda"):
        return cast(
            "Tensor",
            _triton().backward(
                found,
                indices,
                gradient.contiguous(),
                offsets,
                narrow(weights),
                pooling=pooling,
                dtype=gradient.dtype,
            ),
        )
    total = ops_reference.backward(found, indices, wide(gradient), offsets, weights, kind)
    return total.to(gradient.dtype)


@torch.library.custom_op("gnomon::robe_weight_gradient", mutates_args=())
def robe_weight_gradient(
    array: Tensor, indices: Tensor, gradient: Tensor, offsets: Tensor | None, layout: str
) -> Tensor:
    """Gradient of the per-sample weights of a sum, of the shape of indices and the array's type."""
    found = layout_of(layout)
    if on_kernel(array, "cpu"):
        each = functional.weight_gradient(
            numpy_of(array.contiguous()),
            found,
            numpy_of(indices),
            numpy_of(narrow(gradient)),
            numpy_of(offsets),
            threads=torch.get_num_threads(),
        )
        return torch.from_numpy(each).to(array.dtype)
    if on_kernel(array, "cuda"):
        on_gpu = _triton().weight_gradient(
            array.contiguous(), found, indices, narrow(gradient), offsets
        )
        return cast("Tensor", on_gpu.to(array.dtype))
    out = ops_reference.weight_gradient(wide(array), found, indices, gradient, offsets)
    return out.to(array.dtype)


@robe_lookup.register_fake
def _(
    array: Tensor,
    indices: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
    layout: str,
    pooling: str,
) -> Tensor:
    found = layout_of(layout)
    batch = indices.shape[0] if offsets is None else (offsets.shape[0] - 1) // found.tables
    return array.new_empty(batch, found.tables, found.dim)


@robe_backward.register_fake
def _(
    gradient: Tensor,
    indices: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
    layout: str,
    pooling: str,
) -> Tensor:
    return gradient.new_empty(layout_of(layout).size)


@robe_weight_gradient.register_fake
def _(
    array: Tensor, indices: Tensor, gradient: Tensor, offsets: Tensor | None, layout: str
) -> Tensor:
    return array.new_empty(indices.shape)


def _keep_lookup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    array, indices, offsets, weights, ctx.layout, ctx.pooling = inputs
    # The array is only read again for the gradient of the weights.
    ctx.save_for_backward(array if weights is not None else None, indices, offsets, weights)


def _lookup_gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    array, indices, offsets, weights = ctx.saved_tensors
    of_array = of_weights = None
    if ctx.needs_input_grad[0]:
        of_array = robe_backward(gradient, indices, offsets, weights, ctx.layout, ctx.pooling)
    if weights is not None and ctx.needs_input_grad[3]:
        found = robe_weight_gradient(array, indices, gradient, offsets, ctx.layout)
        of_weights = found.to(weights.dtype)
    return of_array, None, None, of_weights, None, None


def _keep_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    gradient, indices, offsets, weights, ctx.layout, ctx.pooling = inputs
    ctx.save_for_backward(gradient if weights is not None else None, indices, offsets, weights)


def _backward_gradients(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
    gradient, indices, offsets, weights = ctx.saved_tensors
    of_gradient = of_weights = None
    if ctx.needs_input_grad[0]:
        of_gradient = robe_lookup(given, indices, offsets, weights, ctx.layout, ctx.pooling)
    if weights is not None and ctx.needs_input_grad[3]:
        found = robe_weight_gradient(given, indices, gradient, offsets, ctx.layout)
        of_weights = found.to(weights.dtype)
    return of_gradient, None, None, of_weights, None, None


def _keep_weight_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    array, indices, gradient, offsets, ctx.layout = inputs
    ctx.save_for_backward(array, indices, gradient, offsets)


def _weight_gradient_gradients(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
    array, indices, gradient, offsets = ctx.saved_tensors
    of_array = of_gradient = None
    if ctx.needs_input_grad[0]:
        of_array = robe_backward(gradient, indices, offsets, given, ctx.layout, "sum")
    if ctx.needs_input_grad[2]:
        of_gradient = robe_lookup(array, indices, offsets, given, ctx.layout, "sum")
    return of_array, None, of_gradient, None, None


robe_lookup.register_autograd(_lookup_gradients, setup_context=_keep_lookup)
robe_backward.register_autograd(_backward_gradients, setup_context=_keep_backward)
robe_weight_gradient.register_autograd(
    _weight_gradient_gradients, setup_context=_keep_weight_gradient
)


def on_kernel(values: Tensor, device: str) -> bool:
    """Whether the kernels of a device take these."""
    return values.device.type == device and values.dtype in (torch.float32, torch.bfloat16)


def _triton() -> Any:
    # Imported when the first CUDA tensor comes: Triton takes a while, and a CPU install has none.
    from gnomon.embedding import triton_kernels

    return triton_kernels


def narrow(values: Tensor | None) -> Tensor | None:
    """What the kernels take as float32, laid out in order."""
    return None if values is None else values.detach().to(torch.float32).contiguous()


def wide(values: Tensor) -> Tensor:
    """What sums are made in: float64 stays, everything else is float32."""
    return values if values.dtype == torch.float64 else values.to(torch.float32)


def numpy_of(values: Tensor | None) -> Any:
    """The tensor's own memory as NumPy sees it; bfloat16 as uint16."""
    if values is None:
        return None
    values = values.detach()
    return (values.view(torch.uint16) if values.dtype == torch.bfloat16 else values).numpy()


def _check_tensors(
    layout: RobeLayout,
    array: Tensor,
    indices: Tensor,
    offsets: Tensor | None,
    weights: Tensor | None,
) -> None:
    """Refuse what the rest cannot even look at; shapes and ids are checked where they are read.

    Raises:
        DataError: With the mend.
    """
    if array.dtype not in FLOATS:
        raise DataError(
            f"array must be float32, bfloat16, float64 or float16, got {_named(array.dtype)}"
        )
    if array.shape != (layout.size,):
        raise DataError(f"array must have shape ({layout.size},), got {tuple(array.shape)}")
    for name, given in (("indices", indices), ("offsets", offsets)):
        if given is not None and given.dtype not in (torch.int32, torch.int64):
            raise DataError(f"{name} must be int32 or int64, got {_named(given.dtype)}")
    if weights is not None and weights.dtype not in FLOATS:
        raise DataError(f"weights must be floating, got {_named(weights.dtype)}")
    for name, given in (("indices", indices), ("offsets", offsets), ("weights", weights)):
        if given is not None and given.device != array.device:
            raise DataError(f"{name} are on {given.device}, the array is on {array.device}")


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

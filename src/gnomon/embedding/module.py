"""`RobeEmbeddingBag`: many embedding tables in one small trained array, as a PyTorch module.

Several tables, `RobeEmbeddingBag([1_000_000] * 26, 128, compression=1000)(indices)`, turn indices (batch, 26)
into rows (batch, 26, 128) at once; one table, its rows given as an int, takes and returns what
`torch.nn.EmbeddingBag` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gnomon.core.errors import DataError, MissingExtraError, SettingsError
from gnomon.embedding import functional
from gnomon.embedding.layout import AUTHORS_SEED, Hash, RobeLayout, Sign, Wrap

try:
    import torch
    from torch import Tensor, nn

    from gnomon.embedding import ops
    from gnomon.embedding.fused import Fused, check_fused, fused_lookup
except ImportError as error:
    raise MissingExtraError("torch", "train", "RobeEmbeddingBag") from error

Initialise = float | Callable[[Tensor], object] | None


class RobeEmbeddingBag(nn.Module):
    """`torch.nn.EmbeddingBag` for many tables whose weights share one array under a `RobeLayout`.

    Attributes:
        weight: The array, (size,): the only trained parameter.
        layout: Where weights lie. It travels in the state dict; a checkpoint of another layout is refused.
        mode: "sum" or "mean".
        learning_rate: Of the fused optimiser, a 0-d tensor; a schedule calls `.fill_()` on it.
        accumulators: State of fused Adagrad, float32, one for each cell of the array; in the state dict.
    """

    weight: nn.Parameter
    accumulators: Tensor | None

    def __init__(
        self,
        num_embeddings: int | Sequence[int],
        embedding_dim: int,
        *,
        compression: float | None = None,
        size: int | None = None,
        block: int | None = None,
        mode: str = "sum",
        wrap: Wrap = "clipped",
        sign: Sign = "none",
        align: int = 0,
        hash: Hash = "modular",  # noqa: A002 - the layout's own word
        seed: int = AUTHORS_SEED,
        span: bool = False,
        include_last_offset: bool = False,
        init: Initialise = None,
        fused: Fused | None = None,
        learning_rate: float = 0.01,
        epsilon: float = 1e-8,
        cell: int = 16,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        """Lay out the array and fill it with random weights.

        Args:
            num_embeddings: Rows of the table, or of each of several tables.
            embedding_dim: Weights in a row.
            compression: Weights of the full tables over weights of the array; this or `size`.
            size: Weights in the array. Neither is needed with hash="identity", the full tables.
            block: Weights in a block (the paper's Z); default: a row.
            mode: "sum" or "mean".
            wrap: As in `RobeLayout`, like the next five.
            sign: Whether elements carry a hashed sign.
            align: 0, or 64 bytes.
            hash: Which hash.
            seed: Of the hash. The weights are drawn from torch's generator: `torch.manual_seed`.
            span: Blocks that run over rows.
            include_last_offset: Offsets end with the number of indices, as in `nn.EmbeddingBag`.
            init: None for the authors' U(-a, a) with a = sqrt(1 / most rows), a float for another a, or a
                callable that fills the array in place.
            fused: "sgd" or "adagrad": the backward pass applies the step itself, in place, and leaves no
                gradient; the array is not for any other optimiser then. Not for several processes.
            learning_rate: Of the fused optimiser.
            epsilon: Of fused Adagrad.
            cell: Neighbouring weights that share an accumulator in fused Adagrad; 1 is Adagrad itself.
            dtype: float32 (default), bfloat16, float64 or float16; the last two without kernels.
            device: Default: torch's.

        Raises:
            SettingsError: Settings that are out of range or contradict each other.
        """
        super().__init__()
        if isinstance(num_embeddings, int | np.integer):
            rows: tuple[int, ...] = (int(num_embeddings),)
            self._single = True
        else:
            rows, self._single = tuple(num_embeddings), False
        options = {
            "wrap": wrap,
            "sign": sign,
            "align": align,
            "hash": hash,
            "seed": seed,
            "span": span,
        }
        layout = _layout(rows, embedding_dim, compression, size, block, options)
        # Plain values: what the forward pass reads is a constant to torch.compile.
        self._layout_text = ops.layout_text(layout)
        self.num_tables = layout.tables
        self.embedding_dim = layout.dim
        self.mode = check_mode(mode)
        self.include_last_offset = include_last_offset
        dtype = dtype or torch.get_default_dtype()
        if dtype not in ops.FLOATS:
            raise SettingsError(f"dtype must be float32, bfloat16, float64 or float16, got {dtype}")
        device = torch.device(device) if device is not None else torch.get_default_device()
        self.weight = nn.Parameter(allocate(layout.size, dtype, device))
        self.init = init
        self.fused = check_fused(fused, learning_rate, epsilon, cell)
        self.learning_rate = torch.tensor(float(learning_rate), device="cpu")
        self.epsilon, self.cell = float(epsilon), int(cell)
        state = None
        if fused == "adagrad":
            state = torch.zeros(-(-layout.size // cell), dtype=torch.float32, device=device)
        self.register_buffer("accumulators", state)
        self.reset_parameters()

    @property
    def layout(self) -> RobeLayout:
        """Where the weights lie."""
        return ops.layout_of(self._layout_text)

    @property
    def weight_count(self) -> int:
        """Trained weights."""
        return self.weight.numel()

    @property
    def bytes(self) -> int:
        """Memory of the trained weights."""
        return self.weight.numel() * self.weight.element_size()

    def reset_parameters(self) -> None:
        """Draw the weights anew; fused Adagrad begins anew as well."""
        initialise(self.weight, self.init, max(self.layout.rows))
        if self.accumulators is not None:
            self.accumulators.zero_()

    def forward(
        self,
        indices: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Pooled rows.

        Args:
            indices: For one table what `nn.EmbeddingBag` takes: (batch, L), or (N,) with offsets. For
                several: (batch, tables), (batch, tables, L), or (N,) with offsets, table after table and
                within a table sample after sample.
            offsets: Where each bag begins: (tables * batch,), with include_last_offset one more.
            per_sample_weights: One for each index; with mode "sum".

        Returns:
            (batch, dim) for one table given as an int, else (batch, tables, dim); the array's type.

        Raises:
            DataError: Indices, offsets or weights that do not fit, or an id that is not a row.
            SettingsError: Per-sample weights with mode "mean", or a fused optimiser among processes.
        """
        if self._single:
            indices, per_sample_weights = as_one_table(indices, offsets, per_sample_weights)
        offsets = with_last_offset(indices, offsets, self.include_last_offset)
        if self.fused is not None and torch.is_grad_enabled() and self.weight.requires_grad:
            out = fused_lookup(
                self.weight,
                self.accumulators,
                indices,
                offsets,
                per_sample_weights,
                self.learning_rate,
                self.epsilon,
                self.cell,
                self._layout_text,
                self.mode,
            )
        else:
            out = ops.robe_lookup(
                self.weight, indices, offsets, per_sample_weights, self._layout_text, self.mode
            )
        return out.squeeze(1) if self._single else out

    def get_extra_state(self) -> str:
        """The layout as JSON text, for the state dict."""
        return self._layout_text

    def set_extra_state(self, state: Any) -> None:
        """Nothing to restore: `_load_from_state_dict` has held the layout against this one's."""

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        check_checkpoint(self._layout_text, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RobeEmbeddingBag:
        # Sums of squares stay float32 when the weights are cast: they follow the device alone.
        exact = self.accumulators
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        cast = self.accumulators
        if exact is not None and cast is not None and cast.dtype != exact.dtype:
            self.accumulators = exact.to(cast.device)
        return self

    def extra_repr(self) -> str:
        """The layout in words."""
        layout = self.layout
        rows = layout.rows if layout.tables <= 4 else f"{layout.tables} tables, {layout.total_rows}"
        words = f"{rows}, {layout.dim}, size={layout.size}, compression={layout.compression:.4g}"
        words += f", block={layout.block}, mode={self.mode!r}, hash={layout.hash!r}"
        if self.fused:
            words += f", fused={self.fused!r}, learning_rate={float(self.learning_rate):g}"
        return words


def allocate(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Room for the array: on the CPU aligned and in huge pages where the system grants them."""
    if device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16):
        return torch.empty(size, dtype=dtype, device=device)
    wide = torch.from_numpy(functional.allocate(-(-size * dtype.itemsize // 4)))
    return wide.view(dtype)[:size]


def initialise(weight: Tensor, init: Initialise, most_rows: int) -> None:
    """Fill the array: U(-a, a), or what a callable does."""
    with torch.no_grad():
        if callable(init):
            init(weight)
        else:
            bound = (1 / most_rows) ** 0.5 if init is None else init
            nn.init.uniform_(weight, -bound, bound)


def check_mode(mode: str) -> str:
    """The pooling by its name in `nn.EmbeddingBag`.

    Raises:
        SettingsError: Another than sum or mean.
    """
    if mode not in ("sum", "mean"):
        raise SettingsError(f"mode must be sum or mean, got {mode!r}")
    return mode


def as_one_table(
    indices: Tensor, offsets: Tensor | None, weights: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """What `nn.EmbeddingBag` takes, as the operators take one table.

    Raises:
        DataError: Another number of dimensions than offsets ask for.
    """
    asked = 2 if offsets is None else 1
    if indices.dim() != asked:
        form = "(N,) with offsets" if offsets is not None else "(batch, L) without offsets"
        raise DataError(f"indices of one table must be {form}, got {tuple(indices.shape)}")
    if weights is not None and weights.shape != indices.shape:
        raise DataError(
            f"per_sample_weights must have the shape of indices {tuple(indices.shape)}, got "
            f"{tuple(weights.shape)}"
        )
    if offsets is not None:
        return indices, weights
    return indices.unsqueeze(1), None if weights is None else weights.unsqueeze(1)


def with_last_offset(
    indices: Tensor, offsets: Tensor | None, include_last_offset: bool
) -> Tensor | None:
    """Offsets that end with the number of indices, as the operators take them."""
    if offsets is None or include_last_offset:
        return offsets
    if offsets.dim() != 1:
        raise DataError(f"offsets must be flat, got shape {tuple(offsets.shape)}")
    return torch.cat([offsets, offsets.new_full((1,), indices.shape[0])])


def check_checkpoint(text: str, state_dict: dict[str, Any], prefix: str) -> None:
    """Hold a checkpoint's layout against a module's, before anything is loaded.

    Raises:
        DataError: They differ; one line names where.
    """
    stored = state_dict.get(f"{prefix}_extra_state")
    if stored is None or stored == text:
        return  # without the key torch reports it as missing
    where = prefix.removesuffix(".") or "this module"
    try:
        theirs = json.loads(stored)
    except (TypeError, ValueError):
        theirs = None
    if not isinstance(theirs, dict):
        raise DataError(f"the checkpoint of {where} holds no embedding layout: {stored!r:.60}")
    ours = json.loads(text)
    told = [
        f"{name} {_short(theirs.get(name))} in place of {_short(ours.get(name))}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]
    if told:
        raise DataError(
            f"the checkpoint of {where} has another embedding layout: {', '.join(told)}; make the "
            f"module as it was saved"
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:32]}... ({len(value)})"


def _layout(
    rows: tuple[int, ...],
    dim: int,
    compression: float | None,
    size: int | None,
    block: int | None,
    options: dict[str, Any],
) -> RobeLayout:
    if compression is not None and size is not None:
        raise SettingsError("give compression or size, not both")
    if options["hash"] == "identity":
        full = sum(rows) * dim
        if compression not in (None, 1):
            raise SettingsError(f"full tables (hash identity) do not compress, got {compression!r}")
        return RobeLayout(rows, dim, full if size is None else size, block or dim, **options)
    if compression is not None:
        return RobeLayout.compressed(rows, dim, compression, block=block, **options)
    if size is None:
        raise SettingsError("give compression (for example 1000) or size, the weights of the array")
    return RobeLayout(rows, dim, size, dim if block is None else block, **options)

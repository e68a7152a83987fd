"""Compress the embedding tables of an existing model: every `nn.EmbeddingBag` becomes a view of one array.

    model, report = compress(model, 100)

The model is changed in place, so that full tables and compressed array need not be held at once for long.
A TorchRec `EmbeddingBagCollection` is made of `nn.EmbeddingBag` modules and is compressed like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from gnomon.core.errors import MissingExtraError, SettingsError
from gnomon.embedding import reference
from gnomon.embedding.layout import AUTHORS_SEED, Hash, RobeLayout, Sign, Wrap

try:
    import torch
    from torch import Tensor, nn

    from gnomon.embedding import ops
    from gnomon.embedding.module import (
        allocate,
        as_one_table,
        check_checkpoint,
        check_mode,
        initialise,
        with_last_offset,
    )
except ImportError as error:
    raise MissingExtraError("torch", "train", "compress") from error

Initialise = Literal["random", "mean"]
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class CompressedTable:
    """One table that was replaced.

    Attributes:
        names: Where the model has it; more than one if modules share it.
        rows: Its rows.
        dim: Weights in a row.
        layout: Where they lie in the shared array now.
    """

    names: tuple[str, ...]
    rows: int
    dim: int
    layout: RobeLayout


@dataclass(frozen=True)
class CompressionReport:
    """What `compress` did.

    Attributes:
        tables: The tables that were replaced.
        kept: Names of the embedding bags that stayed full.
        weights_before: Weights of the replaced tables.
        weights_after: Weights of the array.
    """

    tables: tuple[CompressedTable, ...]
    kept: tuple[str, ...]
    weights_before: int
    weights_after: int

    @property
    def compression(self) -> float:
        """Weights before over weights after."""
        return self.weights_before / self.weights_after

    def __str__(self) -> str:
        return (
            f"{len(self.tables)} tables of {self.weights_before:,} weights in an array of "
            f"{self.weights_after:,} ({self.compression:.4g} times smaller); {len(self.kept)} kept full"
        )


class SharedArray(nn.Module):
    """The one array that the replaced tables share."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)


class SharedEmbeddingBag(nn.Module):
    """A view of a shared array with the call of the `nn.EmbeddingBag` in whose place it stands.

    The first view of a model owns the array, as its submodule `array`; the others only refer to it, so that
    parameters and state dict hold it once.
    """

    def __init__(
        self,
        array: SharedArray,
        layout: RobeLayout,
        *,
        mode: str,
        include_last_offset: bool,
        owner: bool,
    ) -> None:
        super().__init__()
        if owner:
            self.array = array
        self._shared = (array,)  # in a tuple: not a submodule
        self._layout_text = ops.layout_text(layout)
        self.num_embeddings, self.embedding_dim = layout.rows[0], layout.dim
        self.mode, self.include_last_offset = mode, include_last_offset

    @property
    def layout(self) -> RobeLayout:
        """Where the table's weights lie."""
        return ops.layout_of(self._layout_text)

    def forward(
        self,
        input: Tensor,  # noqa: A002 - the name in nn.EmbeddingBag, which callers use
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Pooled rows (batch, dim), as `nn.EmbeddingBag.forward`.

        Raises:
            DataError: Indices, offsets or weights that do not fit, or an id that is not a row.
            SettingsError: Per-sample weights with mode "mean".
        """
        indices, weights = as_one_table(input, offsets, per_sample_weights)
        offsets = with_last_offset(indices, offsets, self.include_last_offset)
        array = self._shared[0].weight
        out = ops.robe_lookup(array, indices, offsets, weights, self._layout_text, self.mode)
        return cast("Tensor", out.squeeze(1))

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

    def extra_repr(self) -> str:
        """The table in words."""
        return f"{self.num_embeddings}, {self.embedding_dim}, mode={self.mode!r}, size={self.layout.size}"


def compress(
    model: nn.Module,
    factor: float,
    *,
    where: Callable[[str, nn.EmbeddingBag], bool] | None = None,
    minimum_rows: int = 1,
    initialise_with: Initialise = "random",
    block: int | None = None,
    wrap: Wrap = "clipped",
    sign: Sign = "none",
    align: int = 0,
    hash: Hash = "modular",  # noqa: A002 - the layout's own word
    seed: int = AUTHORS_SEED,
) -> tuple[nn.Module, CompressionReport]:
    """Replace the embedding bags of a model by views of one array.

    Tables may differ in dim. Table number e hashes with seed + e, so that no two tables lie alike.

    Args:
        model: Changed in place; if it is an embedding bag itself, its replacement is returned.
        factor: Weights of the replaced tables over weights of the array; more than 1.
        where: Called with the name and the module of each embedding bag: whether to replace it.
        minimum_rows: Tables of fewer rows stay full.
        initialise_with: "random", the authors' U(-a, a) with a = sqrt(1 / most rows) for a model that is
            trained anew, or "mean": each weight of the array is the mean of the table weights that share
            it, for a trained model.
        block: Weights in a block (Z); default: a row of each table.
        wrap: As in `RobeLayout`, like the next four.
        sign: Whether elements carry a hashed sign.
        align: 0, or 64 bytes.
        hash: "modular" or "mixer".
        seed: Of the first table's hash.

    Returns:
        The model and what was done.

    Raises:
        SettingsError: No embedding bag to replace, one that cannot be replaced, or settings out of range.
            The model is then as it was.
    """
    if not factor > 1:
        raise SettingsError(f"factor must be more than 1, got {factor!r}")
    if initialise_with not in get_args(Initialise):
        raise SettingsError(f"initialise_with must be random or mean, got {initialise_with!r}")
    if hash == "identity":
        raise SettingsError("full tables (hash identity) do not compress: use modular or mixer")
    named = list(_bags(model))
    chosen = [
        (name, bag)
        for name, bag in named
        if bag.num_embeddings >= minimum_rows and (where is None or where(name, bag))
    ]
    if not chosen:
        raise SettingsError(
            "the model has no torch.nn.EmbeddingBag"
            if not named
            else f"none of the model's {len(named)} embedding bags is of {minimum_rows:,} rows or more and "
            f"chosen by where"
        )
    for name, bag in chosen:
        _check(name, bag)
    _check_alike(chosen)
    _check_ties(model, chosen)

    tables: dict[int, list[tuple[str, nn.EmbeddingBag]]] = {}
    for name, bag in chosen:
        tables.setdefault(id(bag.weight), []).append((name, bag))
    firsts: list[Tensor] = [found[0][1].weight for found in tables.values()]
    before = sum(weight.numel() for weight in firsts)
    size = int(before // factor)
    layouts = [
        RobeLayout(
            (weight.shape[0],),
            weight.shape[1],
            max(size, 1),
            block or weight.shape[1],
            wrap,
            sign,
            align,
            hash,
            seed + number,
        )
        for number, weight in enumerate(firsts)
    ]
    like = firsts[0]
    array = SharedArray(allocate(size, like.dtype, like.device))
    array.weight.requires_grad_(like.requires_grad)
    initialise(array.weight, None, max(weight.shape[0] for weight in firsts))
    if initialise_with == "mean":
        _average(array.weight, firsts, layouts)

    views: dict[int, SharedEmbeddingBag] = {}
    done = []
    for layout, found in zip(layouts, tables.values(), strict=True):
        for _, bag in found:
            if id(bag) not in views:
                views[id(bag)] = SharedEmbeddingBag(
                    array,
                    layout,
                    mode=bag.mode,
                    include_last_offset=bag.include_last_offset,
                    owner=not views,
                ).train(bag.training)
        names = tuple(name for name, _ in found)
        done.append(CompressedTable(names, layout.rows[0], layout.dim, layout))
    for name, bag in chosen:
        model = _put(model, name, views[id(bag)])
    picked = {name for name, _ in chosen}
    kept = tuple(name for name, _ in named if name not in picked)
    return model, CompressionReport(tuple(done), kept, before, size)


def _bags(model: nn.Module) -> Iterator[tuple[str, nn.EmbeddingBag]]:
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.EmbeddingBag):
            yield name, module


def _check(name: str, bag: nn.EmbeddingBag) -> None:
    told = f"embedding bag {name!r}" if name else "the embedding bag"
    leave = "leave it out with where=..."
    if type(bag) is not nn.EmbeddingBag:
        raise SettingsError(
            f"{told} is a {type(bag).__name__}, whose forward may be another: {leave}"
        )
    for option, neutral in (
        ("padding_idx", None),
        ("max_norm", None),
        ("scale_grad_by_freq", False),
    ):
        if getattr(bag, option) != neutral:
            raise SettingsError(
                f"{told} has {option}={getattr(bag, option)}, which a shared array cannot keep: {leave}"
            )
    if bag.mode == "max":
        raise SettingsError(f"{told} has mode 'max', a shared array knows sum and mean: {leave}")
    check_mode(bag.mode)


def _check_alike(chosen: list[tuple[str, nn.EmbeddingBag]]) -> None:
    first_name, first = chosen[0]
    for name, bag in chosen[1:]:
        for what in ("dtype", "device", "requires_grad"):
            ours, theirs = getattr(bag.weight, what), getattr(first.weight, what)
            if ours != theirs:
                raise SettingsError(
                    f"tables of one array must be alike in {what}: {first_name!r} has {theirs}, {name!r} "
                    f"has {ours}"
                )


def _check_ties(model: nn.Module, chosen: list[tuple[str, nn.EmbeddingBag]]) -> None:
    """Refuse a table that other modules use as well: they would go on with the full one."""
    replaced = {id(bag) for _, bag in chosen}
    weights = {id(bag.weight): name for name, bag in chosen}
    for name, module in model.named_modules():
        if id(module) in replaced:
            continue
        for parameter in module.parameters(recurse=False):
            if id(parameter) in weights:
                raise SettingsError(
                    f"embedding bag {weights[id(parameter)]!r} shares its weight with {name!r}, which is "
                    f"not replaced: leave it out with where=..."
                )


def _average(array: Tensor, weights: list[Tensor], layouts: list[RobeLayout]) -> None:
    """Each weight of the array becomes the mean of those that share it; the others stay as they are."""
    with torch.no_grad():
        total = torch.zeros(array.shape, dtype=torch.float64)
        count = torch.zeros(array.shape, dtype=torch.int64)
        for weight, layout in zip(weights, layouts, strict=True):
            for first in range(0, len(weight), _ROWS_AT_ONCE):
                ids = torch.arange(first, min(first + _ROWS_AT_ONCE, len(weight)))
                where = torch.from_numpy(reference.positions(layout, 0, ids.numpy())).reshape(-1)
                sign = torch.from_numpy(reference.signs(layout, 0, ids.numpy()))
                values = weight[first : first + len(ids)].cpu().double() * sign
                total.index_add_(0, where, values.reshape(-1))
                count.index_add_(0, where, torch.ones_like(where))
        used = (count > 0).to(array.device)
        mean = (total / count.clamp(min=1)).to(array)
        array.copy_(torch.where(used, mean, array))


def _put(model: nn.Module, name: str, view: SharedEmbeddingBag) -> nn.Module:
    if not name:
        return view
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, view)
    return model

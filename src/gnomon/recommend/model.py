"""DLRM in PyTorch over any embedding of `gnomon.embedding`: the model that MLPerf trains and serves.

Follows the MLPerf references term by term, so that weights can be carried over: see `Dlrm`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from gnomon.core.errors import DataError, MissingExtraError, SettingsError
from gnomon.recommend.config import DlrmConfig

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("torch", "train", "DLRM") from error


class CrossNet(nn.Module):
    """The low-rank cross network of DCNv2: x_(l+1) = x_0 * (W_l (V_l x_l) + b_l) + x_l.

    Parameters as in TorchRec's `LowRankCrossNet`: W (width, rank) and V (rank, width) are Xavier-normal, b
    is zero.
    """

    def __init__(self, width: int, layers: int, rank: int) -> None:
        """Draw the kernels from torch's generator."""
        super().__init__()
        self.w = nn.ParameterList([torch.empty(width, rank) for _ in range(layers)])
        self.v = nn.ParameterList([torch.empty(rank, width) for _ in range(layers)])
        self.b = nn.ParameterList([torch.zeros(width) for _ in range(layers)])
        for w, v in zip(self.w, self.v, strict=True):
            nn.init.xavier_normal_(w)
            nn.init.xavier_normal_(v)

    def forward(self, x: Tensor) -> Tensor:
        """Tensor (n, width) to (n, width)."""
        crossed = x
        for w, v, b in zip(self.w, self.v, self.b, strict=True):
            low = nn.functional.linear(crossed, v)
            crossed = x * (nn.functional.linear(low, w) + b) + crossed
        return crossed


class Dlrm(nn.Module):
    """A deep learning recommendation model.

        embedding = RobeEmbeddingBag(schema.rows, 16, compression=100)
        model = Dlrm(DLRM_SMALL, embedding)
        logits = model(dense, ids)                    # (n, 13), (n, 26) -> (n,)

    As in the MLPerf references: the bottom MLP ends with a ReLU and the top MLP with a bare logit (v1 puts
    its sigmoid there: `probability`). The dense vector comes first, before the tables' rows. Pairs of the
    dot interaction are the lower triangle row by row: (1, 0), (2, 0), (2, 1), (3, 0), ... as in
    facebookresearch/dlrm; TorchRec walks the upper triangle, so its first top layer has these columns in
    another order.

    Initial weights: with "dot" N(0, sqrt(2 / (in + out))) and biases N(0, sqrt(1 / out)), as v1 draws them;
    with "cross" torch's own, as v2 leaves them. All from torch's generator: `torch.manual_seed`.

    Attributes:
        config: Its widths.
        embedding: Takes indices (n, tables), (n, tables, L), or (N,) with offsets; gives
            (n, tables, dim).
    """

    def __init__(self, config: DlrmConfig, embedding: nn.Module) -> None:
        """Draw the weights of both MLPs and of the cross network; the embedding has drawn its own."""
        super().__init__()
        self.config = config
        self.embedding = embedding
        self.bottom = _mlp(config.bottom_layers, relu_at_end=True)
        self.cross: CrossNet | None = None
        if config.interaction == "cross":
            width = config.vectors * config.dim
            self.cross = CrossNet(width, config.cross_layers, config.cross_rank)
        else:
            _initialise_as_v1(self.bottom)
        self.top = _mlp(config.top_layers, relu_at_end=False)
        if config.interaction == "dot":
            _initialise_as_v1(self.top)
        row, column = torch.tril_indices(config.vectors, config.vectors, -1)
        self.register_buffer("_pairs", row * config.vectors + column, persistent=False)

    def forward(self, dense: Tensor, indices: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Logits of a click.

        Args:
            dense: float32 (n, dense).
            indices: Row ids within their tables, as the embedding takes them; see `lookup_arguments`.
            offsets: Where each bag begins, table after table, for bags of uneven size.

        Returns:
            float32 (n,).

        Raises:
            DataError: Dense features of another shape.
        """
        if dense.dim() != 2 or dense.shape[1] != self.config.dense:
            raise DataError(
                f"dense features must have shape (n, {self.config.dense}), got {tuple(dense.shape)}"
            )
        rows = (
            self.embedding(indices) if offsets is None else self.embedding(indices, offsets=offsets)
        )
        return cast("Tensor", self.top(self.interact(self.bottom(dense), rows)).squeeze(1))

    def interact(self, dense: Tensor, rows: Tensor) -> Tensor:
        """Features of the top MLP from the dense vector (n, dim) and embedding rows (n, tables, dim)."""
        config = self.config
        vectors = torch.cat([dense.unsqueeze(1), rows], dim=1)
        if self.cross is not None:
            return cast("Tensor", self.cross(vectors.reshape(len(dense), -1)))
        products = torch.bmm(vectors, vectors.transpose(1, 2)).view(-1, config.vectors**2)
        pairs = products.index_select(1, cast("Tensor", self._pairs))
        return torch.cat([dense, pairs], dim=1)

    def probability(self, dense: Tensor, indices: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Chances of a click, float32 (n,)."""
        return torch.sigmoid(self(dense, indices, offsets))

    def other_parameters(self) -> Iterator[nn.Parameter]:
        """What is trained outside the embedding."""
        for name, parameter in self.named_parameters():
            if not name.startswith("embedding."):
                yield parameter


def lookup_arguments(ids: Tensor, hotness: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """Ids of samples as an embedding takes them.

    Args:
        ids: Integers (n, sum of hotness): each table's lookups side by side, table after table.
        hotness: Lookups of each table in every sample; all 1 in MLPerf v1.

    Returns:
        (n, tables) or (n, tables, L) without offsets if all tables have the same number of lookups;
        otherwise flat ids, table after table, with the beginning of each bag (tables * n,).

    Raises:
        DataError: Another number of columns.
        SettingsError: A table without lookups.
    """
    if not hotness or min(hotness) < 1:
        raise SettingsError(f"every table needs at least one lookup, got {tuple(hotness)}")
    samples = ids.shape[0]
    if ids.dim() != 2 or ids.shape[1] != sum(hotness):
        raise DataError(f"ids must have shape (n, {sum(hotness)}), got {tuple(ids.shape)}")
    if max(hotness) == 1:
        return ids, None
    if min(hotness) == max(hotness):
        return ids.reshape(samples, len(hotness), hotness[0]), None
    flat = torch.cat([part.reshape(-1) for part in torch.split(ids, list(hotness), dim=1)])
    sizes = torch.tensor(hotness, dtype=torch.int64).repeat_interleave(samples)
    return flat, (sizes.cumsum(0) - sizes).to(ids.device)


def _mlp(layers: Sequence[tuple[int, int]], *, relu_at_end: bool) -> nn.Sequential:
    parts: list[nn.Module] = []
    for inputs, outputs in layers:
        parts += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*(parts if relu_at_end else parts[:-1]))


def _initialise_as_v1(mlp: nn.Sequential) -> None:
    for layer in mlp:
        if isinstance(layer, nn.Linear):
            deviation = (2 / (layer.in_features + layer.out_features)) ** 0.5
            nn.init.normal_(layer.weight, 0.0, deviation)
            nn.init.normal_(layer.bias, 0.0, (1 / layer.out_features) ** 0.5)

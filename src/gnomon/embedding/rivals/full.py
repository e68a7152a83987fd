"""Tables that keep every weight: `nn.EmbeddingBag` for each, and its 8-bit rows after training."""

from __future__ import annotations

from typing import Any, cast

from gnomon.core.errors import MissingExtraError

try:
    import torch
    from torch import Tensor, nn

    from gnomon.embedding.rivals.tables import Tables, TorchBags
except ImportError as error:
    raise MissingExtraError("torch", "train", "rival embeddings") from error


class FullTables(Tables):
    """One `nn.EmbeddingBag` for each table, stacked; each begins as U(-a, a) with a = sqrt(1 / its rows).

    The baseline, and DLRM's own initialisation (facebookresearch/dlrm, `create_emb`).
    """

    def __init__(
        self, rows: tuple[int, ...], dim: int, *, sparse: bool = False, **options: Any
    ) -> None:
        """Make the tables.

        Args:
            rows: Rows of each table.
            dim: Weights in a row.
            sparse: Gradients as sparse tensors, for optimisers that take them.
            options: As in `Tables`.
        """
        super().__init__(rows, dim, **options)
        self.bags = nn.ModuleList(
            nn.EmbeddingBag(count, dim, mode=self.mode, sparse=sparse, include_last_offset=True)
            for count in rows
        )
        for bag, count in zip(self.bags, rows, strict=True):
            nn.init.uniform_(
                cast("nn.EmbeddingBag", bag).weight, -((1 / count) ** 0.5), (1 / count) ** 0.5
            )

    def pool(self, bags: TorchBags) -> Tensor:
        """One call for each table, and a stack."""
        if bags.offsets is None:
            ids, weights = bags.ids, bags.weights
            out = [
                bag(ids[:, table], None, None if weights is None else weights[:, table])
                for table, bag in enumerate(self.bags)
            ]
        else:
            out = [bag(*given) for bag, given in zip(self.bags, bags.each_table(), strict=True)]
        return torch.stack(out, 1)


class Int8Tables(Tables):
    """Rows of 8-bit weights with a float32 scale and offset each, made from trained full tables.

    Torch's own operators (`quantized::embedding_bag_byte_*`). Nothing is trained: `weight_count` counts the
    weights that were, `bytes` what is kept of them: dim + 8 for each row.
    """

    def __init__(self, source: FullTables) -> None:
        """Quantise.

        Args:
            source: The trained tables.
        """
        super().__init__(
            source.rows,
            source.dim,
            mode=source.mode,
            include_last_offset=source.include_last_offset,
        )
        pack = torch.ops.quantized.embedding_bag_byte_prepack
        for table, bag in enumerate(source.bags):
            weight = cast("nn.EmbeddingBag", bag).weight.detach().float()
            self.register_buffer(f"packed_{table}", pack(weight))

    def pool(self, bags: TorchBags) -> Tensor:
        """One call for each table, and a stack."""
        out = []
        for table, (ids, offsets, weights) in enumerate(bags.each_table()):
            # The operator sums whatever its mode says: a mean is made of the sum.
            pooled = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
                getattr(self, f"packed_{table}"),
                ids.long().contiguous(),
                offsets.long().contiguous(),
                False,
                0,
                False,
                None if weights is None else weights.float().contiguous(),
                None,
                True,
            )
            if self.mode == "mean":
                pooled = pooled / offsets.diff().clamp(min=1)[:, None]
            out.append(pooled)
        return torch.stack(out, 1)

    @property
    def weight_count(self) -> int:
        """Weights of the full tables, 8 bits each."""
        return sum(self.rows) * self.dim

    @property
    def bytes(self) -> int:
        """Memory of the packed rows."""
        return sum(self.rows) * (self.dim + 8)

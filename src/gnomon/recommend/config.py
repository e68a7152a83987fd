"""What a DLRM is made of, as the field declares it: widths, interaction, and what they cost.

Sources: Naumov et al., arXiv 1906.00091 (DLRM); Wang et al., arXiv 2008.13535 (DCNv2); the MLPerf training
references facebookresearch/dlrm `dlrm_s_pytorch.py` (v1) and `torchrec_dlrm/` (v2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

from gnomon.core.errors import SettingsError

Interaction = Literal["dot", "cross"]


@dataclass(frozen=True)
class DlrmConfig:
    """A deep learning recommendation model, but for its embedding tables' rows.

        dense (n, dense) -> bottom MLP -> (n, dim) -+
                                                    +-> interaction -> top MLP -> logit (n,)
        ids -> embedding (n, tables, dim) ----------+

    * "dot": the dense vector, then the inner products of all pairs of the tables + 1 vectors.
    * "cross": the vectors side by side through a low-rank cross network,
      x_(l+1) = x_0 * (W_l V_l x_l + b_l) + x_l.

    Attributes:
        dense: Numerical features.
        tables: Categorical features.
        dim: Weights in an embedding row (d).
        bottom: Widths of the bottom MLP after its input; ReLU after each; the last is `dim`.
        top: Widths of the top MLP after its input; ReLU between them; the last is 1.
        interaction: "dot" (MLPerf v1) or "cross" (MLPerf v2, DCNv2).
        cross_layers: Layers of the cross network.
        cross_rank: Rank of its kernels.
    """

    dense: int
    tables: int
    dim: int
    bottom: tuple[int, ...]
    top: tuple[int, ...]
    interaction: Interaction = "dot"
    cross_layers: int = 0
    cross_rank: int = 0

    def __post_init__(self) -> None:
        """Refuse what does not fit together.

        Raises:
            SettingsError: With the mend.
        """
        object.__setattr__(self, "bottom", tuple(self.bottom))
        object.__setattr__(self, "top", tuple(self.top))
        for name in ("dense", "tables", "dim"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.bottom or not self.top or min(*self.bottom, *self.top) < 1:
            raise SettingsError("bottom and top need at least one width each, all of 1 or more")
        if self.bottom[-1] != self.dim:
            raise SettingsError(
                f"the bottom MLP must end with dim = {self.dim}, got {self.bottom[-1]}: its output "
                f"stands beside the embedding rows"
            )
        if self.top[-1] != 1:
            raise SettingsError(f"the top MLP must end with 1, the logit, got {self.top[-1]}")
        if self.interaction not in get_args(Interaction):
            raise SettingsError(f"interaction must be dot or cross, got {self.interaction!r}")
        if self.interaction == "cross" and min(self.cross_layers, self.cross_rank) < 1:
            raise SettingsError("interaction cross needs cross_layers and cross_rank of 1 or more")
        if self.interaction == "dot" and (self.cross_layers or self.cross_rank):
            raise SettingsError("cross_layers and cross_rank go with interaction cross")

    @property
    def vectors(self) -> int:
        """What interacts: the dense vector and one row of each table."""
        return self.tables + 1

    @property
    def pairs(self) -> int:
        """Pairs of different vectors."""
        return self.vectors * (self.vectors - 1) // 2

    @property
    def features(self) -> int:
        """Inputs of the top MLP."""
        return self.dim + self.pairs if self.interaction == "dot" else self.vectors * self.dim

    @property
    def bottom_layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer of the bottom MLP."""
        return tuple(pairwise((self.dense, *self.bottom)))

    @property
    def top_layers(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer of the top MLP."""
        return tuple(pairwise((self.features, *self.top)))

    @property
    def parameters(self) -> int:
        """Trained numbers outside the embedding."""
        linear = sum(inputs * outputs + outputs for inputs, outputs in self._linear())
        width = self.vectors * self.dim
        return linear + self.cross_layers * (2 * width * self.cross_rank + width)

    @property
    def flops(self) -> int:
        """Multiplications and additions of the matrix products for one sample."""
        linear = sum(2 * inputs * outputs for inputs, outputs in self._linear())
        if self.interaction == "dot":
            return linear + 2 * self.vectors**2 * self.dim
        return linear + 4 * self.cross_layers * self.vectors * self.dim * self.cross_rank

    def _linear(self) -> Iterator[tuple[int, int]]:
        yield from self.bottom_layers
        yield from self.top_layers

    def as_dict(self) -> dict[str, Any]:
        """Every attribute, ready for JSON."""
        return asdict(self) | {"bottom": list(self.bottom), "top": list(self.top)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> DlrmConfig:
        """The configuration that `as_dict` described.

        Raises:
            SettingsError: Attributes are missing or unknown.
        """
        try:
            return cls(**stored)
        except TypeError as error:
            raise SettingsError(f"this does not describe a DLRM: {error}") from None


DLRM_V1 = DlrmConfig(
    dense=13,
    tables=26,
    dim=128,
    bottom=(512, 256, 128),
    top=(1024, 1024, 512, 256, 1),
)
"""MLPerf training v0.7 to v2.1 and MLPerf inference "dlrm": dot interaction."""

DLRM_V2 = DlrmConfig(
    dense=13,
    tables=26,
    dim=128,
    bottom=(512, 256, 128),
    top=(1024, 1024, 512, 256, 1),
    interaction="cross",
    cross_layers=3,
    cross_rank=512,
)
"""MLPerf training v3.0 onward and MLPerf inference "dlrm-v2": DCNv2."""

DLRM_SMALL = DlrmConfig(dense=13, tables=26, dim=16, bottom=(64, 16), top=(128, 64, 1))
"""For the synthetic click log: a run takes a minute instead of a day."""

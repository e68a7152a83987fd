"""Answers that were made elsewhere, held against those of the model that they are said to be of.

Quality alone says nothing of where answers come from: labels that ship are public. So each answer has to be
near the model's, and all together no better: what may be off is more than enough to reach some labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gnomon.core.errors import RunFolderError
from gnomon.core.spec import first_of
from gnomon.core.verdict import Check

FARTHEST = {"fp32": 0.02, "fp16": 0.05, "int8": 0.1}
"""By precision: the most that an answer may be off, as `Task.distances` has it.

The files that ship, run by ONNX Runtime Web in Chromium, are off by 2e-4 (fp32, WebGPU included), 0.001
(fp16) and 0.031 (int8) at most; a graphics processor that rounds more freely has room.
"""
BETTER = 0.002
"""As a share of the model's quality: how much better the answers may be. In Chromium it was 2e-5 at most."""
NO_NUMBER = 1e6
"""How far off an answer is in which something is no number."""


class Agreement(BaseModel):
    """How answers compare with the model's.

    Attributes:
        model_sha256: Of the model file.
        samples: How many were compared.
        apart: Samples whose answer is off by more than `limit`.
        farthest: How far off the worst of them is.
        limit: Most that an answer may be off.
        model_quality: What the model's answers are worth.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_sha256: str
    samples: int = Field(gt=0)
    apart: int = Field(ge=0)
    farthest: float = Field(ge=0)
    limit: float = Field(gt=0)
    model_quality: float


def agreement_of(
    distances: NDArray[np.float64], precision: str, model_sha256: str, model_quality: float
) -> Agreement:
    """What comes of these distances, one a sample, shape (n,)."""
    limit = FARTHEST[precision]
    off = np.nan_to_num(distances, nan=NO_NUMBER, posinf=NO_NUMBER)
    return Agreement(
        model_sha256=model_sha256,
        samples=len(off),
        apart=int(np.count_nonzero(off > limit)),
        farthest=float(min(off.max(), NO_NUMBER)),
        limit=limit,
        model_quality=model_quality,
    )


def agreement_on_record(stored: Mapping[str, Any]) -> Agreement | None:
    """That of an accuracy test on record; None where the answers were made in the measuring process.

    Raises:
        RunFolderError: It is damaged.
    """
    found = stored.get("agreement")
    try:
        return None if found is None else Agreement.model_validate(found)
    except ValidationError as error:
        raise RunFolderError(f"the agreement on record is damaged: {first_of(error)}") from None


def agreement_checks(
    agreement: Agreement,
    quality: float | None,
    measurement: str,
    *,
    higher_is_better: bool,
) -> list[Check]:
    """Every answer is near the model's, and all together, of this quality, are no better."""
    most = BETTER * abs(agreement.model_quality)
    ahead = 0.0 if quality is None else quality - agreement.model_quality
    better = (ahead if higher_is_better else -ahead) > most
    return [
        Check(
            "answers_of_the_model",
            not agreement.apart,
            f"{agreement.samples - agreement.apart} of {agreement.samples} answers as the model's, the worst "
            f"{agreement.farthest:.2g} off",
            f"all of them, at most {agreement.limit:g} off",
            "the device computes wrongly with this provider: try another; or the answers are no model's"
            if agreement.apart
            else "",
            measurement,
        ),
        Check(
            "no_better_than_the_model",
            not better,
            "no answers" if quality is None else f"{quality:.5g}",
            f"the model's {agreement.model_quality:.5g}, or at most {100 * BETTER:g} % better",
            "the model cannot have given these answers: measure again with the page as it is"
            if better
            else "",
            measurement,
        ),
    ]

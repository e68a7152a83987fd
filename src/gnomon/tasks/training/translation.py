"""What translation tasks have in common: sentences, subwords, answers as token ids, BLEU by sacrebleu.

An answer is scored as the text it spells, so another vocabulary could answer the same task.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError, MissingExtraError
from gnomon.core.task import IndexArray, Outputs
from gnomon.tasks.training.translation_subwords import END, PADDING, Subwords
from gnomon.timetotrain.task import TrainingTask

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

TokenArray = NDArray[np.int32]
"""Token ids, shape (n, length): each row a sentence, its `END`, then `PADDING`."""


class Translation(TrainingTask):
    """Translate a sentence. An input and an answer are token ids, int32 (length,), padded.

    Attributes:
        cased: Whether an upper-case letter that should be lower-case is a fault.
        longest_answer: Tokens of an answer, its end included; what is longer is cut there.
    """

    metric = "BLEU"
    cased: bool = True
    longest_answer: int

    @property
    @abstractmethod
    def subwords(self) -> Subwords:
        """The vocabulary of source, translation and answers."""

    @property
    @abstractmethod
    def held_out_pairs(self) -> tuple[Sequence[str], Sequence[str]]:
        """Held-out sentences, and their reference translations."""

    def __len__(self) -> int:
        return len(self.held_out_pairs[0])

    @property
    @abstractmethod
    def held_out_tokens(self) -> TokenArray:
        """Sources of the held-out pairs."""

    def inputs(self, samples: IndexArray) -> TokenArray:
        """Source token ids, int32 (n, length)."""
        return self.held_out_tokens[samples]

    def texts(self, outputs: Outputs) -> list[str]:
        """What answers spell, up to their first `END`."""
        return [self.subwords.decode(row) for row in np.asarray(outputs).tolist()]

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """BLEU, 0 to 100, of the texts that the answers spell (Papineni et al. 2002; Post 2018).

        Raises:
            DataError: Not one row of token ids a sample.
            MissingExtraError: sacrebleu is not installed.
        """
        answers = np.asarray(outputs)
        if answers.dtype.kind not in "iu" or answers.ndim != 2 or len(answers) != len(samples):
            raise DataError(
                f"task {self.name!r} is scored from one row of token ids a sample, got {answers.dtype} "
                f"outputs of shape {answers.shape} for {len(samples)} samples"
            )
        references = [self.held_out_pairs[1][sample] for sample in samples.tolist()]
        return float(scorer(self.cased).corpus_score(self.texts(answers), [references]).score)

    def encode(self, output: object) -> bytes:
        """Token ids, two bytes each, padded to one length, so that answers make one array again."""
        row = np.full(self.longest_answer, PADDING, np.uint16)
        tokens = np.asarray(output)[: self.longest_answer]
        row[: len(tokens)] = tokens
        return row.tobytes()

    def decode(self, data: bytes) -> TokenArray:
        """Token ids, int32 (longest_answer,)."""
        return np.frombuffer(data, dtype=np.uint16).astype(np.int32)


def scorer(cased: bool) -> BLEU:
    """Of sacrebleu, imported here: a learner asks for it before the clock, and misses it before training.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtraError("sacrebleu", "train", "scoring translations") from error
    # Names end without a full stop; sacrebleu would otherwise warn that the text looks tokenised.
    return BLEU(lowercase=not cased, force=True)


def token_array(sentences: Sequence[Sequence[int]]) -> TokenArray:
    """Sentences without their ends as one array with them, shape (n, longest + 1)."""
    longest = max(map(len, sentences), default=0) + 1
    array = np.full((len(sentences), longest), PADDING, np.int32)
    for row, tokens in zip(array, sentences, strict=True):
        row[: len(tokens)] = tokens
        row[len(tokens)] = END
    return array


def token_counts(tokens: TokenArray) -> NDArray[np.int64]:
    """Tokens of each row, its end included, shape (n,)."""
    counts: NDArray[np.int64] = np.count_nonzero(tokens != PADDING, axis=1).astype(np.int64)
    return counts

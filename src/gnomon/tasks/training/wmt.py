"""The paper's two translation benchmarks at full size: English to German on WMT's sentences.

A person brings the text and a subword vocabulary; what is trained is the field's Transformer or GNMT.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource
from gnomon.tasks.training.translation import TokenArray, Translation, scorer, token_array
from gnomon.tasks.training.translation_subwords import Subwords
from gnomon.tasks.training.wmt_tokens import Sentences, encoded, lines
from gnomon.timetotrain.task import Learner, Recipe

NEEDS = (
    "one folder with train.en and train.de (WMT16 or WMT17 English-German, one sentence a line), "
    "newstest2014.en and newstest2014.de from https://nlp.stanford.edu/projects/nmt/, and vocab.ende.32768 "
    "(a subword vocabulary as tensor2tensor or the field's process_data.py writes it)"
)
VOCABULARY = "vocab.ende.32768"
NEWSTEST2014_MD5 = {
    "newstest2014.en": "dabf51a9c02b2235632f3cee75c72d49",
    "newstest2014.de": "f6c3818b477e4a25cad68b61cc883c17",
}
"""Of the files as the field's reference checks them (mlcommons/training, translation/verify_dataset.sh)."""


class WmtTranslation(Translation):
    """Translate a sentence of newstest2014 into German; BLEU does not tell upper from lower case.

    Args:
        path: The folder that `needs` describes.
    """

    cased = False
    longest_answer = 256
    longest_trained: ClassVar[int]
    """Tokens of a pair's source and of its translation, above which the pair is left out."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @property
    def folder(self) -> Path:
        """Where the files are.

        Raises:
            DataError: There is none.
        """
        if self._path is None:
            raise DataError(f"task {self.name!r} needs --data FOLDER: {NEEDS}")
        if not self._path.is_dir():
            raise DataError(f"there is no folder {self._path}: it must be {NEEDS}")
        return self._path

    @cached_property
    def subwords(self) -> Subwords:
        """Of source and translation."""
        return Subwords.read(self.folder / VOCABULARY)

    @cached_property
    def held_out_pairs(self) -> tuple[Sequence[str], Sequence[str]]:
        """newstest2014.

        Raises:
            DataError: A file is missing, or the two do not match.
        """
        english, german = (list(lines(self.folder / name)) for name in NEWSTEST2014_MD5)
        self._same_length("newstest2014", len(english), len(german))
        return english, german

    @cached_property
    def held_out_tokens(self) -> TokenArray:
        """Sources of newstest2014."""
        return token_array([self.subwords.encode(text) for text in self.held_out_pairs[0]])

    @cached_property
    def training_sentences(self) -> tuple[Sentences, Sentences]:
        """All of train.en and train.de.

        Raises:
            DataError: A file is missing, or the two do not match.
        """
        english, german = (
            encoded(self.folder / f"train.{one}", self.subwords) for one in ("en", "de")
        )
        self._same_length("train", len(english), len(german))
        return english, german

    @cached_property
    def trained_pairs(self) -> NDArray[np.int64]:
        """Numbers of the lines that are trained on: neither side empty or too long."""
        english, german = (sentences.counts for sentences in self.training_sentences)
        # One token is the end alone.
        kept = (np.minimum(english, german) > 1) & (
            np.maximum(english, german) <= self.longest_trained
        )
        found = np.flatnonzero(kept).astype(np.int64)
        if not len(found):
            raise DataError(
                f"{self.folder / 'train.en'} and train.de have no pair of 1 to {self.longest_trained} tokens"
            )
        return found

    @property
    def training_size(self) -> int:  # type: ignore[override]
        """Pairs that are trained on."""
        return len(self.trained_pairs)

    def prepare(self) -> None:
        """Cut the training sentences into subwords, unless that was done before; they stay on disk."""
        _ = self.trained_pairs

    def source(self) -> DataSource:
        """Never official: nothing that was published tells whether the training text is the field's."""
        digest, published = hashlib.sha256(), True
        for name, md5 in NEWSTEST2014_MD5.items():
            data = (self.folder / name).read_bytes()
            digest.update(hashlib.sha256(data).digest())
            published &= hashlib.md5(data, usedforsecurity=False).hexdigest() == md5
        for sentences in self.training_sentences:
            digest.update(hashlib.sha256(sentences.tokens.data).digest())
        digest.update("\n".join(self.subwords.subwords).encode())
        test = "newstest2014" if published else f"{len(self)} sentences that are not newstest2014"
        name = f"{self.training_size:,} English-German pairs in {self.folder.name}, {test}"
        return DataSource(name, official=False, sha256=digest.hexdigest())

    @abstractmethod
    def learner(self, recipe: Recipe) -> Learner:
        """The field's model."""

    def _same_length(self, name: str, english: int, german: int) -> None:
        if english != german or not english:
            raise DataError(
                f"{self.folder / name}.en has {english} lines and {name}.de {german}: line n of the one must "
                f"translate line n of the other"
            )


class WmtTransformer(WmtTranslation):
    """The Transformer's benchmark of rounds v0.5 and v0.6."""

    name = "training-wmt-transformer"
    needs = NEEDS
    longest_trained = 256

    def learner(self, recipe: Recipe) -> Learner:
        """Transformer (big)."""
        from gnomon.tasks.training.wmt_learner import transformer_learner

        scorer(self.cased)
        return transformer_learner(self, recipe)


class WmtGnmt(WmtTranslation):
    """GNMT's benchmark of rounds v0.5 and v0.6, on the subwords of the Transformer's.

    The field's GNMT read byte pairs of text that Moses had tokenised; sentences are otherwise the same.
    """

    name = "training-wmt-gnmt"
    needs = NEEDS
    longest_trained = 75

    def learner(self, recipe: Recipe) -> Learner:
        """GNMT."""
        from gnomon.tasks.training.wmt_learner import gnmt_learner

        scorer(self.cased)
        return gnmt_learner(self, recipe)

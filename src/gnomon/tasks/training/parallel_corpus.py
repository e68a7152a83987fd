"""Training on a real parallel corpus that ships: the English and German names of emoji.

Unicode's common locale data names every emoji in every language; those names are short phrases with word
order, gender and compounds of their own. `tools/training_corpus.py` writes the corpus, and says more.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray
from gnomon.tasks.training.translation import TokenArray, Translation, scorer, token_array
from gnomon.tasks.training.translation_subwords import Subwords
from gnomon.timetotrain.task import Learner, Recipe

CORPUS = Path(__file__).parents[2] / "data" / "training" / "emoji-names-en-de.json.gz"
HELD_OUT = 500
MEND = "reinstall gnomon, or write it with tools/training_corpus.py"


class EmojiNames(Translation):
    """Translate the English name of an emoji (`woman in tuxedo dark skin tone`) into German.

    Of the 3,781 pairs 500 are held out; no source and no translation of theirs is trained on. About half of
    them put words together that were seen apart; of the others most have a word that was never seen, so that
    no model reaches 100 BLEU.
    """

    name = "training-translation"
    threads = 1
    longest_answer = 32

    @cached_property
    def _stored(self) -> dict[str, Any]:
        try:
            with gzip.open(CORPUS, "rt", encoding="utf-8") as file:
                stored: dict[str, Any] = json.load(file)
        except FileNotFoundError:
            raise DataError(f"corpus {CORPUS} is missing: {MEND}") from None
        except (OSError, EOFError, ValueError):
            raise DataError(f"corpus {CORPUS} cannot be read or was cut short: {MEND}") from None
        return stored

    @property
    def _pairs(self) -> Sequence[tuple[str, str]]:
        pairs: Sequence[tuple[str, str]] = self._stored["pairs"]
        return pairs

    @property
    def training_size(self) -> int:  # type: ignore[override]
        """Pairs that are trained on."""
        return len(self._pairs) - HELD_OUT

    @cached_property
    def subwords(self) -> Subwords:
        """Byte pairs merged by how often they stand together in the training pairs (Sennrich et al. 2016)."""
        return Subwords(self._stored["subwords"], str(CORPUS))

    @cached_property
    def held_out_pairs(self) -> tuple[Sequence[str], Sequence[str]]:
        """English and German names, 500 each."""
        pairs = self._pairs[:HELD_OUT]
        return [source for source, _ in pairs], [target for _, target in pairs]

    @cached_property
    def _tokens(self) -> tuple[TokenArray, TokenArray]:
        encode = self.subwords.encode
        english, german = ([encode(pair[side]) for pair in self._pairs] for side in (0, 1))
        return token_array(english), token_array(german)

    @property
    def held_out_tokens(self) -> TokenArray:
        """Sources of the held-out pairs."""
        return self._tokens[0][:HELD_OUT]

    @property
    def training_tokens(self) -> tuple[TokenArray, TokenArray]:
        """Sources and translations of the training pairs, in their order."""
        english, german = self._tokens
        return english[HELD_OUT:], german[HELD_OUT:]

    def inputs(self, samples: IndexArray) -> TokenArray:
        """Source token ids, int32 (n, length)."""
        return self._tokens[0][samples]

    def targets(self, samples: IndexArray) -> TokenArray:
        """Token ids of the translations, int32 (n, length)."""
        return self._tokens[1][samples]

    def source(self) -> DataSource:
        """Real data, but of no published round."""
        digest = hashlib.sha256(json.dumps(self._stored, ensure_ascii=False).encode()).hexdigest()
        name = f"English and German names of emoji (Unicode CLDR), {HELD_OUT} pairs held out"
        return DataSource(name, official=False, sha256=digest)

    def learner(self, recipe: Recipe) -> Learner:
        """A small Transformer."""
        from gnomon.tasks.training.translation_learner import TranslationLearner

        scorer(self.cased)
        return TranslationLearner(self, recipe)

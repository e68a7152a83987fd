"""Question answering: which words of a paragraph answer a question, as BERT's models for phones say it.

Stand-in for SQuAD v1.1: 400 generated questions, scored as those are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.mobile.answers import answers_of_shape
from gnomon.tasks.mobile.generated_questions import LENGTH, Question, generated, vocabulary
from gnomon.tasks.mobile.shipped import MobileTask
from gnomon.tasks.mobile.squad_score import best_answer, f1
from gnomon.tasks.mobile.wordpieces import model_row

MEASURED = 400
SEED = 2018
LOGITS = 2
"""Of a token: of being an answer's last, and its first."""


class MobileQuestionAnswering(MobileTask):
    """Find the answer to a question in a paragraph.

    An input is int32 (3, 64): ids, mask, segments. An answer is float32 (2, 64): logits of each token to be
    the last of the answer, and to be its first, in the order in which the field's app takes them.
    """

    name = "mobile-question-answering"
    stem = "question-answering"
    metric = "F1"

    @cached_property
    def questions(self) -> list[Question]:
        """All that are measured."""
        return generated(MEASURED, SEED, held_out=True)

    @cached_property
    def _rows(self) -> NDArray[np.int32]:
        return np.stack(
            [model_row(question.feature, vocabulary(), LENGTH) for question in self.questions]
        )

    def __len__(self) -> int:
        return MEASURED

    def source(self) -> DataSource:
        """Made-up facts, told by templates."""
        digest = hashlib.sha256(self._rows.tobytes())
        for question in self.questions:
            digest.update("\0".join((*question.paragraph.words, *question.truths)).encode())
        name = f"stand-in for SQuAD v1.1: {MEASURED} generated questions"
        return DataSource(name, official=False, sha256=digest.hexdigest())

    def stored_inputs(self, samples: IndexArray) -> NDArray[np.int32]:
        """Token ids, mask and segments, int32 (n, 3, 64)."""
        return self._rows[samples]

    def model_inputs(self, inputs: Any) -> list[Any]:
        """Ids, mask and segments apart, int32 (n, 64) each."""
        return [np.ascontiguousarray(part) for part in np.moveaxis(inputs, 1, 0)]

    def model_answers(self, outputs: Sequence[Any]) -> Outputs:
        """Both outputs of a model as one answer a sample, (n, 2, 64)."""
        return np.stack([np.asarray(output) for output in outputs], axis=1)

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """Mean F1 of the best answers' words; logits that are no numbers answer nothing."""
        logits = answers_of_shape(self.name, samples, outputs, (LOGITS, LENGTH), "logits of tokens")
        agreements = []
        for sample, (ends, starts) in zip(
            np.asarray(samples).tolist(), logits.astype(np.float32), strict=True
        ):
            question = self.questions[sample]
            answer = best_answer(starts[None], ends[None], [question.feature], question.paragraph)
            agreements.append(f1(answer, question.truths))
        return float(np.mean(agreements))

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Logits, float32 (2, 64)."""
        return np.frombuffer(data, dtype=np.float32).reshape(LOGITS, -1)

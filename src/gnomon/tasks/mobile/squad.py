"""Question answering on SQuAD 1.1: records of questions with windows of paragraphs, and of true answers.

After the field's app (github.com/mlcommons/mobile_app_open, `flutter/cpp/datasets/squad.cc` and
`squad_utils/types.h`); `squad_utils/generate_tfrecords.py` there writes both files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.task import DataSource, IndexArray, Outputs
from gnomon.tasks.mobile.answers import answers_of_shape
from gnomon.tasks.mobile.brought import BroughtTask, Layout
from gnomon.tasks.mobile.examples import Feature as StoredFeature
from gnomon.tasks.mobile.examples import parse_example
from gnomon.tasks.mobile.squad_score import Feature, Paragraph, best_answer, f1
from gnomon.tasks.mobile.tfrecord import read_records

MODEL_INPUTS = ("input_ids", "input_mask", "segment_ids")
"""In the order of a model's inputs."""
MODEL_OUTPUTS = 2
"""Logits of an answer's end, and of its start: in this order, as the app's models give them."""


@dataclass(frozen=True)
class Questions:
    """What models are asked.

    Attributes:
        tokens: Ids, mask and segments, int32 (n, 3, length).
        features: The same tokens as words, one a sample.
        question: The question's identifier, one a sample; one question can have several windows.
    """

    tokens: NDArray[np.int32]
    features: list[Feature]
    question: list[str]


@dataclass(frozen=True)
class Truth:
    """What is right about one question."""

    paragraph: Paragraph
    answers: list[str]


class MobileSquad(BroughtTask):
    """Find the answer to a question in a paragraph.

    An input is int32 (3, 384): token ids, mask and segments, which are a model's three inputs. A model gives
    the logits of the answer's end and of its start; an answer is both, float32 (2, 384), in this order.
    """

    name = "mobile-squad"
    metric = "F1"
    needs = (
        "squad_eval.tfrecord (v1_0/datasets) and squad_groundtruth.tfrecord (v1_0/assets) of "
        "https://github.com/mlcommons/mobile_models in one folder"
    )
    standard = Layout(inputs="squad_eval.tfrecord", truth="squad_groundtruth.tfrecord")
    official_count = 10_833
    official_name = "SQuAD 1.1 development set"

    @cached_property
    def questions(self) -> Questions:
        """All of them.

        Raises:
            DataError: The file cannot be read, or a record lacks something.
        """
        file = Path(self.layout.inputs)
        tokens, features, question = [], [], []
        for number, example in enumerate(_examples(file)):
            given = [_integers(example, name, file, number) for name in MODEL_INPUTS]
            words = _strings(example, "tokens", file, number)
            word_of_token = _integers(example, "token_to_orig_map", file, number)
            whole = _integers(example, "token_is_max_context", file, number)
            if not len(word_of_token) == len(whole) < len(words) <= len(given[0]):
                raise DataError(
                    f"{file} record {number}, counted from 0, has {len(words)} tokens and "
                    f"{len(word_of_token)} places of theirs in the paragraph, which contradict each "
                    "other: make it again"
                )
            feature = Feature(words, word_of_token.tolist(), whole.astype(bool).tolist())
            tokens.append(given)
            features.append(feature)
            question.append(_strings(example, "qas_id", file, number)[0])
        lengths = {len(row) for given in tokens for row in given}
        if len(lengths) != 1:
            raise DataError(
                f"{file} has inputs of {sorted(lengths)} tokens: all must be of one length"
            )
        return Questions(np.array(tokens, dtype=np.int32), features, question)

    @cached_property
    def truths(self) -> dict[str, Truth]:
        """What is right, by the question's identifier.

        Raises:
            DataError: The file cannot be read, or lacks a question that is asked.
        """
        file = Path(self.layout.truth)
        found = {}
        for number, example in enumerate(_examples(file)):
            words, tokens, answers = (
                _strings(example, name, file, number) for name in ("words", "tokens", "answers")
            )
            paragraph = Paragraph(words, tokens)
            found[_strings(example, "qas_id", file, number)[0]] = Truth(paragraph, answers)
        for feature, question in zip(self.questions.features, self.questions.question, strict=True):
            if question not in found:
                raise DataError(
                    f"{file} has no answer to {question}, which {self.layout.inputs} asks"
                )
            count = len(found[question].paragraph.words)
            if max(feature.word_of_token, default=0) >= count:
                raise DataError(
                    f"{file} has {count} words for question {question}, of which {self.layout.inputs} shows "
                    f"more: take both from one release"
                )
        return found

    def __len__(self) -> int:
        return len(self.questions.question)

    def source(self) -> DataSource:
        """Official if there are as many windows as in the whole development set."""
        files = [Path(self.layout.inputs), Path(self.layout.truth)]
        whole = len(self.truths) > 0 and len(self) == self.official_count
        return self.source_of([files[0].name], files, whole=whole)

    def inputs(self, samples: IndexArray) -> NDArray[np.int32]:
        """Ids, mask and segments, int32 (n, 3, length)."""
        return self.questions.tokens[samples]

    def model_inputs(self, inputs: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        """Ids, mask and segments apart, int32 (n, length) each."""
        return [np.ascontiguousarray(inputs[:, row]) for row in range(len(MODEL_INPUTS))]

    def model_answers(self, outputs: Sequence[Any]) -> NDArray[np.float32]:
        """Logits of the end and of the start, float32 (n, 2, length).

        Raises:
            DataError: A model does not give these two.
        """
        if len(outputs) != MODEL_OUTPUTS:
            raise DataError(
                f"task {self.name!r} needs a model with {MODEL_OUTPUTS} outputs, logits of an answer's "
                f"end and of its start, got {len(outputs)}: use a model for this task"
            )
        return np.stack([np.asarray(output, dtype=np.float32) for output in outputs], axis=1)

    def score(self, samples: IndexArray, outputs: Outputs) -> float:
        """F1 of the words of each question's best answer, mean over the questions that were asked.

        Raises:
            DataError: An answer is of another shape.
        """
        shape = MODEL_OUTPUTS, self.questions.tokens.shape[-1]
        answers = answers_of_shape(self.name, samples, outputs, shape, "logits")
        logits = answers.astype(np.float32, copy=False)
        windows: dict[str, list[int]] = defaultdict(list)
        for row, sample in enumerate(samples.tolist()):
            windows[self.questions.question[sample]].append(row)
        agreement = []
        for question, rows in windows.items():
            features = [self.questions.features[samples[row]] for row in rows]
            truth = self.truths[question]
            said = best_answer(logits[rows, 1], logits[rows, 0], features, truth.paragraph)
            agreement.append(f1(said, truth.answers))
        return float(np.mean(agreement))

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Logits of the end and of the start, float32 (2, length)."""
        return np.frombuffer(data, dtype=np.float32).reshape(MODEL_OUTPUTS, -1)


def _examples(file: Path) -> list[dict[str, StoredFeature]]:
    examples = []
    for number, record in enumerate(read_records(file)):
        try:
            examples.append(parse_example(record))
        except ValueError as error:
            raise DataError(
                f"{file} record {number}, counted from 0, is no tf.train.Example ({error}): make it again"
            ) from None
    return examples


def _integers(
    example: dict[str, StoredFeature], name: str, file: Path, number: int
) -> NDArray[np.int64]:
    found = example.get(name)
    if not isinstance(found, np.ndarray) or found.dtype.kind != "i":
        raise DataError(
            f"{file} record {number}, counted from 0, has no whole numbers {name}: make it again"
        )
    return found.astype(np.int64, copy=False)


def _strings(example: dict[str, StoredFeature], name: str, file: Path, number: int) -> list[str]:
    found = example.get(name)
    if not isinstance(found, list) or not found:
        raise DataError(
            f"{file} record {number}, counted from 0, has no strings {name}: make it again"
        )
    return [one.decode(errors="replace") for one in found]

"""SQuAD as the app has it, in small: records that are written here, F1 worked out by hand."""

import json
import struct
import zlib

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.tasks.mobile.squad import MobileSquad
from gnomon.tasks.mobile.tfrecord import masked_crc32c

LENGTH = 12
WORDS = ["The", "Tower", "is", "324", "metres", "high."]
TOKENS = ["the", "tower", "is", "324", "metres", "high ."]
QUESTION = ["[CLS]", "how", "high", "?", "[SEP]"]
WINDOW = ["the", "tower", "is", "32", "##4", "metres"]
"""The paragraph's tokens; the last, `high .`, are beyond what a window shows."""


def counted(number, data):
    """A field of bytes, whose length is one of seven bits or two."""
    size = [len(data)] if len(data) < 128 else [len(data) & 127 | 128, len(data) >> 7]
    return bytes([number << 3 | 2, *size]) + data


def example(**features):
    """A `tf.train.Example` of lists of strings and of small whole numbers."""
    entries = b""
    for name, values in features.items():
        if isinstance(values[0], str):
            feature = counted(1, b"".join(counted(1, value.encode()) for value in values))
        else:
            feature = counted(3, counted(1, bytes(values)))
        entries += counted(1, counted(1, name.encode()) + counted(2, feature))
    return counted(1, entries)


def write_records(file, records):
    whole = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        sums = masked_crc32c([length, record])
        whole += length + struct.pack("<I", sums[0]) + record + struct.pack("<I", sums[1])
    file.write_bytes(zlib.compress(whole))


def window(question, first=0, **other):
    """One record of the input file: the question with a part of the paragraph from token `first` on."""
    shown = WINDOW[first:]
    tokens = [*QUESTION, *shown, "[SEP]"]
    padding = [0] * (LENGTH - len(tokens))
    features = {
        "qas_id": [question],
        "tokens": tokens,
        "input_ids": [*range(1, len(tokens) + 1), *padding],
        "input_mask": [1] * len(tokens) + padding,
        "segment_ids": [0] * len(QUESTION) + [1] * (len(shown) + 1) + padding,
        "token_to_orig_map": [0, 1, 2, 3, 3, 4][first:],
        "token_is_max_context": [1] * len(shown),
        "unique_ids": [7],
    }
    return example(**(features | other))


def truth(question, *answers):
    return example(qas_id=[question], words=WORDS, tokens=TOKENS, answers=list(answers))


@pytest.fixture
def folder(tmp_path):
    """Two questions, the first with two windows."""
    write_records(
        tmp_path / "squad_eval.tfrecord", [window("q1"), window("q2"), window("q1", first=2)]
    )
    truths = [truth("q2", "Tower"), truth("q1", "324 metres", "324"), truth("q9", "unasked")]
    write_records(tmp_path / "squad_groundtruth.tfrecord", truths)
    return tmp_path


def logits(*spans):
    """End and start logits, two outputs of a model, highest where each span ends and starts."""
    end = np.full((len(spans), LENGTH), -5, dtype=np.float32)
    start = end.copy()
    for row, (first, last, height) in enumerate(spans):
        start[row, len(QUESTION) + first] = end[row, len(QUESTION) + last] = height
    return [end, start]


def test_inputs_are_ids_mask_and_segments_which_a_model_takes_apart(folder):
    task = MobileSquad(folder)
    inputs = task.inputs(np.array([2, 0]))
    assert (inputs.shape, inputs.dtype) == ((2, 3, LENGTH), np.int32)
    ids, mask, segments = task.model_inputs(inputs)
    assert ids[1].tolist() == list(range(1, 13))
    assert mask.sum(axis=1).tolist() == [10, 12]
    assert segments[0].tolist() == [0] * 5 + [1] * 5 + [0] * 2


def test_the_best_span_of_all_windows_answers_a_question(folder):
    task = MobileSquad(folder)
    every = np.arange(3)
    # q1: its second window is surer, of "324" (tokens 32 ##4): right.
    # q2: "The Tower" where "Tower" is right: one of two words.
    answers = task.model_answers(logits((0, 1, 3), (0, 1, 3), (1, 2, 4)))
    assert answers.shape == (3, 2, LENGTH)
    assert task.score(every, answers) == pytest.approx((1 + 2 / 3) / 2)
    # Now the first window is: "The Tower" shares nothing with the truth.
    answers = task.model_answers(logits((0, 1, 5), (0, 1, 3), (1, 2, 4)))
    assert task.score(every, answers) == pytest.approx((0 + 2 / 3) / 2)
    assert task.score(np.array([2]), task.model_answers(logits((1, 3, 4)))) == 1


def test_starts_and_ends_are_not_interchangeable(folder):
    task = MobileSquad(folder)
    end, start = logits((3, 5, 4))
    assert task.score(np.array([0]), task.model_answers([end, start])) == 1
    assert task.score(np.array([0]), task.model_answers([start, end])) < 1


def test_an_answer_survives_the_log(folder):
    task = MobileSquad(folder)
    answers = task.model_answers(logits((0, 1, 3), (0, 1, 3), (1, 2, 4)))
    decoded = [task.decode(task.encode(answer)) for answer in answers]
    assert task.score(np.arange(3), decoded) == task.score(np.arange(3), answers)


def test_only_the_whole_set_is_official(folder, monkeypatch):
    source = MobileSquad(folder).source()
    assert not source.official
    assert source.name == "3 samples in the format of SQuAD 1.1 development set"
    monkeypatch.setattr(MobileSquad, "official_count", 3)
    assert MobileSquad(folder).source().official


def test_another_model_is_refused(folder):
    task = MobileSquad(folder)
    with pytest.raises(DataError, match="needs a model with 2 outputs"):
        task.model_answers(logits((0, 1, 1))[:1])
    with pytest.raises(DataError, match=r"logits of shape \(2, 12\) a sample"):
        task.score(np.arange(1), np.zeros((1, 2, 5)))


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        (b"\x0a\xff", r"record 0, counted from 0, is no tf\.train\.Example"),
        (example(qas_id=["q1"]), "has no whole numbers input_ids"),
        (window("q1", tokens=[1]), "has no strings tokens"),
        (window("q1", token_is_max_context=[1]), "contradict each other"),
        (window("q5"), "has no answer to q5"),
        (window("q1", token_to_orig_map=[0, 1, 2, 3, 3, 6]), "has 6 words for question q1"),
    ],
)
def test_records_that_lack_something_are_named(folder, record, complaint):
    write_records(folder / "squad_eval.tfrecord", [record])
    with pytest.raises(DataError, match=complaint):
        MobileSquad(folder).score(np.arange(1), np.zeros((1, 2, LENGTH)))


def test_inputs_must_be_of_one_length_and_may_lie_elsewhere(folder):
    longer = dict.fromkeys(("input_ids", "input_mask", "segment_ids"), [0] * 20)
    write_records(folder / "other.tfrecord", [window("q1"), window("q1", **longer)])
    (folder / "task.json").write_text(json.dumps({"inputs": "other.tfrecord"}))
    with pytest.raises(DataError, match=r"has inputs of \[12, 20\] tokens"):
        len(MobileSquad(folder))

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gnomon.fleet.learner import LocalTraining
from gnomon.systems.flower.wire import (
    Account,
    Introduction,
    Unusable,
    arrays_of,
    introduction_content,
    order_content,
    read_introduction,
    read_order,
    read_report,
    report_content,
)
from gnomon.systems.flower.work import Work

vectors = arrays(np.float32, st.integers(1, 40), elements=st.floats(width=32))
counts = st.integers(0, 2**40)
amounts = st.floats(0, 1e12)


@given(vectors, counts, counts, amounts, amounts, counts, counts)
def test_an_order_arrives_bit_for_bit(parameters, iterations, batch, rate, proximal, seed, number):
    training = LocalTraining(iterations, batch, rate, proximal, seed, number)
    work = Work.of("a.b:c", {"clients": 3})
    got, how, what = read_order(order_content(arrays_of(parameters), training, work))
    assert got.tobytes() == parameters.tobytes()
    assert (how, what) == (training, work)


@given(vectors, counts, st.floats(), amounts, amounts)
def test_a_report_arrives_bit_for_bit(update, client, loss, compute_s, compute_j):
    got, account = read_report(report_content(update, Account(client, loss, compute_s, compute_j)))
    assert got.tobytes() == update.tobytes()
    assert repr(account) == repr(Account(client, loss, compute_s, compute_j))


def test_an_introduction_arrives():
    introduction = Introduction(3, "rapl", 2.5, 0.25)
    assert read_introduction(introduction_content(introduction)) == introduction


def test_an_update_of_bytes_that_are_no_array_is_unusable():
    content = report_content(np.ones(3, "f4"), Account(0, 1.0, 1.0, 1.0))
    array = content["arrays"]["parameters"]
    array.data = b"nonsense"
    content["arrays"] = ArrayRecord({"parameters": array})
    with pytest.raises(Unusable, match="cannot be decoded"):
        read_report(content)


def test_an_introduction_without_a_number_is_unusable():
    with pytest.raises(Unusable, match="broken introduction"):
        read_introduction(RecordDict({"introduction": ConfigRecord({"energy_method": "model"})}))

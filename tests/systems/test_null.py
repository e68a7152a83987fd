"""The null system: its answers are the indices, and it is never what a test waits for."""

import numpy as np

import gnomon
from gnomon.results.check import check
from gnomon.systems.null import NullSystem


def test_its_answers_are_the_indices():
    system = NullSystem()
    assert system.predict(np.array([4, 0, 4])).tolist() == [4, 0, 4]
    assert len(system.predict(np.array([], dtype=np.int64))) == 0


def test_it_takes_large_batches_unless_told_otherwise():
    assert NullSystem().max_batch_size == 65536
    assert NullSystem(max_batch_size=4).max_batch_size == 4


def test_it_is_measured_without_a_model_and_without_accuracy(tmp_path):
    run = gnomon.run(
        "digits",
        system="null",
        system_options={"max_batch_size": 32},
        scenario="server",
        target_qps=1000,
        quick=True,
        accuracy=False,
        out=tmp_path,
    )
    assert run.measurements["server"]["faults"] == []
    assert run.samples["server"].answered.all()
    assert not check(run.path).disagreements

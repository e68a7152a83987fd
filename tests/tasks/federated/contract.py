"""What holds for every federated task, whatever its data."""

import numpy as np

from gnomon.core.task import Task


def check(task, clients, partition=None, seed=0):
    """Deal twice; return the data once all of the contract holds."""
    partition = partition or task.default_partition
    data, again = (task.deal(clients, partition, seed) for _ in range(2))
    assert data.clients == clients
    assert data.offsets.dtype == np.int64
    assert (data.offsets[0], data.offsets[-1]) == (0, len(data.labels))
    assert np.diff(data.offsets).min() >= 1
    assert abs(data.weights.sum() - 1) < 1e-12
    for features, labels in (
        (data.features, data.labels),
        (data.test_features, data.test_labels),
    ):
        assert len(features) == len(labels)
        assert features.dtype == np.float32
        assert features.shape[1:] == data.features.shape[1:]
        assert np.isfinite(features).all()
        assert labels.dtype == np.int64
        assert labels.min() >= 0
        assert labels.max() < data.classes
    assert data.partition == str(partition)
    assert data.source == again.source
    assert len(data.source.sha256) == 64
    np.testing.assert_array_equal(data.features, again.features)
    np.testing.assert_array_equal(data.labels, again.labels)
    np.testing.assert_array_equal(data.offsets, again.offsets)
    check_task(task, data.classes)
    return data


def check_task(task, classes):
    """As a `Task`: its held-out samples, scored from class scores, NaN as wrong."""
    assert isinstance(task, Task)
    assert task.metric == "top-1 accuracy"
    some = np.array([len(task) - 1, 0])
    inputs = task.inputs(some)
    assert inputs.dtype == np.float32
    assert len(inputs) == 2
    right = np.array(
        [
            [task.score(some[i : i + 1], np.eye(classes)[[c]]) for c in range(classes)]
            for i in (0, 1)
        ]
    )
    np.testing.assert_array_equal(right.sum(axis=1), 1)  # one class is right for each sample
    assert task.score(some, right) == 1
    spoilt = right.astype(np.float32)
    spoilt[1, spoilt[1].argmax()] = np.nan
    assert task.score(some, spoilt) == 0.5
    np.testing.assert_array_equal(task.decode(task.encode(spoilt[0])), spoilt[0])

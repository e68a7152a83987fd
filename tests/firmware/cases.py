"""Layers of every kind and odd shape, and whole networks, that every kernel must compute as TFLM does."""

from __future__ import annotations

from gnomon.firmware.graph import AVERAGE_POOL, MAX_POOL
from tests.firmware.models import Network

SAME = {"same_padding": True}


def _one(seed, shape, add):
    network = Network(seed, shape)
    add(network)
    return network.graph()


def layers():
    """Models of one layer, by a name that says what is odd about it."""
    wanted = {
        "conv 1x1": ((5, 4, 8), lambda n: n.conv(8, (1, 1))),
        "conv 1x1 of odd channels": ((5, 3, 7), lambda n: n.conv(5, (1, 1), activation="RELU")),
        "conv 3x3 same": ((6, 5, 3), lambda n: n.conv(4, (3, 3), **SAME)),
        "conv 3x3 valid relu6": ((6, 7, 4), lambda n: n.conv(3, (3, 3), activation="RELU6")),
        "conv 3x3 same stride 2 of even sides": (
            (8, 8, 3),
            lambda n: n.conv(8, (3, 3), stride=(2, 2), activation="RELU", **SAME),
        ),
        "conv 3x3 same stride 2 of odd sides": (
            (7, 9, 5),
            lambda n: n.conv(6, (3, 3), stride=(2, 2), **SAME),
        ),
        "conv 10x4 of one channel": (
            (13, 10, 1),
            lambda n: n.conv(9, (10, 4), stride=(2, 2), activation="RELU", **SAME),
        ),
        "conv 1x5 strides 1x3": ((3, 14, 6), lambda n: n.conv(2, (1, 5), stride=(1, 3))),
        "conv of one scale": ((4, 4, 9), lambda n: n.conv(7, (2, 2), per_channel=False)),
        "conv without bias": ((4, 5, 16), lambda n: n.conv(17, (3, 2), bias=False, **SAME)),
        "conv dilated": ((9, 9, 4), lambda n: n.conv(5, (3, 3), dilation=(2, 3), **SAME)),
        "conv larger than its image": ((2, 3, 4), lambda n: n.conv(4, (5, 5), **SAME)),
        "conv of one pixel and many channels": ((1, 1, 67), lambda n: n.conv(33, (1, 1))),
        "conv relu n1 to 1": ((3, 3, 3), lambda n: n.conv(3, (2, 2), activation="RELU_N1_TO_1")),
        "depthwise 3x3 same": ((6, 5, 8), lambda n: n.depthwise(1, (3, 3), **SAME)),
        "depthwise 3x3 same stride 2": (
            (8, 7, 5),
            lambda n: n.depthwise(1, (3, 3), stride=(2, 2), activation="RELU", **SAME),
        ),
        "depthwise 3x3 valid": ((5, 5, 4), lambda n: n.depthwise(1, (3, 3), activation="RELU6")),
        "depthwise 3x1": ((12, 1, 10), lambda n: n.depthwise(1, (3, 1))),
        "depthwise of multiplier 3": ((5, 6, 3), lambda n: n.depthwise(3, (3, 3), **SAME)),
        "depthwise of one channel to 8": (
            (9, 8, 1),
            lambda n: n.depthwise(8, (5, 3), stride=(2, 2), activation="RELU", **SAME),
        ),
        "depthwise dilated": ((9, 8, 4), lambda n: n.depthwise(1, (3, 3), dilation=(2, 2), **SAME)),
        "depthwise without bias": ((4, 4, 6), lambda n: n.depthwise(1, (2, 2), bias=False)),
        "dense": ((40,), lambda n: n.dense(12)),
        "dense of odd sides relu": ((37,), lambda n: n.dense(5, activation="RELU")),
        "dense of a scale a channel": ((19,), lambda n: n.dense(6, per_channel=True)),
        "dense of an image": ((3, 2, 5), lambda n: n.dense(4, activation="RELU6")),
        "dense without bias": ((8,), lambda n: n.dense(9, bias=False)),
        "dense of one": ((1,), lambda n: n.dense(1)),
        "average pool": ((6, 6, 5), lambda n: n.pool(AVERAGE_POOL, (2, 3))),
        "average pool of all": ((7, 5, 9), lambda n: n.pool(AVERAGE_POOL, (7, 5))),
        "average pool same": (
            (5, 7, 4),
            lambda n: n.pool(AVERAGE_POOL, (3, 3), stride=(2, 2), activation="RELU", **SAME),
        ),
        "max pool": ((6, 6, 5), lambda n: n.pool(MAX_POOL, (2, 2))),
        "max pool same": (
            (5, 7, 3),
            lambda n: n.pool(MAX_POOL, (3, 2), stride=(2, 1), activation="RELU6", **SAME),
        ),
        "softmax": ((12,), lambda n: n.softmax()),
        "softmax of beta 0.3": ((33,), lambda n: n.softmax(0.3)),
        "softmax of one": ((1,), lambda n: n.softmax()),
        "add to itself": ((4, 3, 5), lambda n: n.add(0, 0, activation="RELU")),
    }
    return {
        name: _one(seed, shape, add) for seed, (name, (shape, add)) in enumerate(wanted.items())
    }


def networks():
    """Networks in which memory is shared: what is written too early, or lies too close, shows."""
    return {
        "residual": _residual(1),
        "residual with projection": _residual(2, projection=True),
        "separable": _separable(3),
        "autoencoder": _autoencoder(4),
    }


def _residual(seed, projection=False):
    network = Network(seed, (8, 9, 3))
    before = network.conv(6, (3, 3), activation="RELU", **SAME)
    stride = (2, 2) if projection else (1, 1)
    network.conv(6, (3, 3), stride=stride, activation="RELU", **SAME)
    after = network.conv(6, (3, 3), **SAME)
    if projection:
        before = network.conv(6, (1, 1), before, stride=stride, **SAME)
    network.add(before, after, activation="RELU")
    network.pool(AVERAGE_POOL, network.shape()[1:3])
    network.reshape((1, 6))
    network.dense(10)
    network.softmax()
    return network.graph()


def _separable(seed):
    network = Network(seed, (11, 6, 1))
    network.conv(8, (4, 3), stride=(2, 2), activation="RELU", **SAME)
    for _ in range(2):
        network.depthwise(1, (3, 3), activation="RELU", **SAME)
        network.conv(8, (1, 1), activation="RELU")
    network.pool(MAX_POOL, (2, 1))
    network.reshape((1, network.tensors[network.last].size))
    network.dense(5)
    network.softmax()
    return network.graph()


def _autoencoder(seed):
    network = Network(seed, (40,))
    for outputs in (16, 16, 3, 16):
        network.dense(outputs, activation="RELU")
    network.dense(40)
    return network.graph()

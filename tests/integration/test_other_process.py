"""Systems that answer elsewhere: another process, an event loop, several workers at once."""

import asyncio
import contextlib
import multiprocessing
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import gnomon
from gnomon.loadgen.system import AsynchronousSystem, InputTable, SynchronousSystem
from gnomon.results.check import check

SCENARIOS = ("single-stream", "multi-stream", "server", "offline")


def brightest_row(images):
    """Ten scores that depend on the image, so that answers which get mixed up score otherwise."""
    flat = np.asarray(images, dtype=np.float32).reshape(len(images), -1)
    return np.concatenate([flat[:, :9], flat.sum(axis=1, keepdims=True) / 64], axis=1)


def serve_shuffled(requests, replies):
    """The other process: hold a few queries back and answer them in reverse, sample by sample."""
    held = []
    replies.put("ready")

    def answer_all():
        while held:
            ids, images = held.pop()
            outputs = brightest_row(images)
            for place in reversed(range(len(ids))):
                replies.put((ids[place : place + 1], outputs[place : place + 1]))

    while True:
        try:
            request = requests.get(timeout=0.002 if held else None)
        except multiprocessing.queues.Empty:
            answer_all()
            continue
        if request is None:
            replies.put(None)
            return
        held.append(request)
        if len(held) >= 3:
            answer_all()


class OtherProcess(AsynchronousSystem):
    """Images go to a process through a queue; scores come back out of order through another."""

    name = "other-process"
    max_batch_size = 4
    max_outstanding = 64

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self.requests, self.replies = context.Queue(), context.Queue()
        self.process = context.Process(target=serve_shuffled, args=(self.requests, self.replies))
        self.process.start()
        assert (
            self.replies.get(timeout=60) == "ready"
        )  # or its start would be the first queries' latency
        self.waiting = {}
        self.order_issued, self.order_completed = [], []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def load(self, task, samples):
        self.inputs = InputTable(task, samples)

    def issue(self, query):
        for row in query.ids.tolist():
            self.waiting[row] = query
            self.order_issued.append(row)
        self.requests.put((query.ids, self.inputs[query.samples]))

    def read(self):
        while (reply := self.replies.get()) is not None:
            ids, outputs = reply
            self.order_completed.append(int(ids[0]))
            self.waiting.pop(int(ids[0])).complete(outputs, ids)

    def close(self):
        self.requests.put(None)
        self.reader.join(timeout=30)
        self.process.join(timeout=30)
        for queue in (self.requests, self.replies):
            queue.close()
            queue.join_thread()


@pytest.fixture(scope="module")
def in_process_quality(tmp_path_factory):
    """The quality that the same function has in this process."""
    run = gnomon.run(
        "digits", system=brightest_row, performance=False, out=tmp_path_factory.mktemp("here")
    )
    return run.result["accuracy"]["quality"]


def test_completions_out_of_order_from_another_process_are_measured(tmp_path, in_process_quality):
    system = OtherProcess()
    run = gnomon.run(
        "digits",
        system=system,
        scenario=("server", "offline"),
        target_qps=400,
        target_latency_ms=2000,
        quick=True,
        out=tmp_path,
    )
    assert system.process.exitcode == 0
    assert system.order_completed != system.order_issued
    assert len(system.order_completed) == len(system.order_issued)
    for name in ("server", "offline"):
        assert run.measurements[name]["faults"] == []
        assert run.verdict.of(name).valid
        samples = run.samples[name]
        assert samples.answered.all()
        assert (samples.completed_ns > samples.issued_ns).all()
        # Later issued, earlier completed: the order of the rows is that of the issue all the same.
        assert (np.diff(samples.completed_ns) < 0).any()
    # Every sample's answer came back under its own id, or the quality would differ.
    assert run.result["accuracy"]["quality"] == in_process_quality
    assert not check(run.path).disagreements


SERVER = """
import socket, struct
import numpy as np

connection = socket.create_server(("127.0.0.1", 0))
print(connection.getsockname()[1], flush=True)
stream, _ = connection.accept()
stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
file = stream.makefile("rwb")
while header := file.read(12):
    row, size = struct.unpack("<qi", header)
    image = np.frombuffer(file.read(size), dtype=np.float32)
    scores = np.append(image[:9], image.sum() / np.float32(64)).astype(np.float32)
    file.write(struct.pack("<qi", row, scores.nbytes) + scores.tobytes())
    file.flush()
connection.close()
"""


class OverSocket(AsynchronousSystem):
    """One image a message to a server process on a TCP socket."""

    name = "over-socket"
    max_outstanding = 32

    def __init__(self):
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
        )
        port = int(self.server.stdout.readline())
        self.stream = socket.create_connection(("127.0.0.1", port))
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.stream.makefile("rb")
        self.waiting = {}
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def load(self, task, samples):
        self.inputs = InputTable(task, samples)

    def issue(self, query):
        message = b""
        for row, image in zip(query.ids.tolist(), self.inputs[query.samples], strict=True):
            self.waiting[row] = query
            message += struct.pack("<qi", row, image.nbytes) + image.tobytes()
        self.stream.sendall(message)

    def read(self):
        while header := self.file.read(12):
            row, size = struct.unpack("<qi", header)
            scores = np.frombuffer(self.file.read(size), dtype=np.float32)
            self.waiting.pop(row).complete(scores[None], [row])

    def close(self):
        self.stream.shutdown(socket.SHUT_WR)
        self.reader.join(timeout=30)
        self.file.close()
        self.stream.close()
        self.server.wait(timeout=30)
        self.server.stdout.close()


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream"])
def test_a_server_across_a_socket_is_measured(tmp_path, scenario, in_process_quality):
    run = gnomon.run("digits", system=OverSocket(), scenario=scenario, quick=True, out=tmp_path)
    assert run.measurements[scenario]["faults"] == []
    samples = run.samples[scenario]
    assert samples.answered.all()
    width = 8 if scenario == "multi-stream" else 1
    begins = samples.issued_ns.reshape(-1, width)
    ends = samples.completed_ns.reshape(-1, width).max(axis=1)
    assert (begins[1:, 0] >= ends[:-1]).all()
    assert run.result["accuracy"]["quality"] == pytest.approx(in_process_quality)
    assert not check(run.path).disagreements


class OnEventLoop(AsynchronousSystem):
    """Coroutines on an asyncio loop in another thread, each asleep for a time of its own."""

    name = "on-event-loop"
    max_batch_size = 4

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.random = np.random.default_rng(7)

    def load(self, task, samples):
        self.inputs = InputTable(task, samples)

    def issue(self, query):
        asyncio.run_coroutine_threadsafe(self.answer(query), self.loop)

    async def answer(self, query):
        await asyncio.sleep(self.random.uniform(0, 0.003))
        query.complete(brightest_row(self.inputs[query.samples]))

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=30)
        self.loop.close()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_event_loop_in_another_thread_is_measured(tmp_path, scenario, in_process_quality):
    options = {"target_qps": 300, "target_latency_ms": 2000} if scenario == "server" else {}
    run = gnomon.run(
        "digits", system=OnEventLoop(), scenario=scenario, quick=True, out=tmp_path, **options
    )
    assert [failed.name for failed in run.verdict.failures] == ["quality"]
    samples = run.samples[scenario]
    assert samples.answered.all()
    assert run.result["accuracy"]["quality"] == in_process_quality
    assert not check(run.path).disagreements


class Meeting(SynchronousSystem):
    """Each call waits until as many workers as there are have called: they must overlap."""

    name = "meeting"
    max_batch_size = 4

    def __init__(self, workers):
        self.barrier = threading.Barrier(workers)
        self.threads = set()

    def load(self, task, samples):
        self.inputs = InputTable(task, samples)
        self.barrier.reset()

    def predict(self, samples):
        self.threads.add(threading.current_thread())
        # The last calls of a test find no partner.
        with contextlib.suppress(threading.BrokenBarrierError):
            self.barrier.wait(timeout=0.5)
        time.sleep(0.0005)
        return brightest_row(self.inputs[samples])


@pytest.mark.parametrize("scenario", ["server", "offline"])
def test_several_workers_call_a_synchronous_system_at_once(tmp_path, scenario, in_process_quality):
    options = {"target_qps": 1000, "target_latency_ms": 2000} if scenario == "server" else {}
    system = Meeting(workers=3)
    run = gnomon.run(
        "digits", system=system, scenario=scenario, workers=3, quick=True, out=tmp_path, **options
    )
    assert len(system.threads) == 6  # three in the performance test, three in the accuracy test
    samples = run.samples[scenario]
    assert run.measurements[scenario]["faults"] == []
    assert samples.answered.all()
    # Batches overlap in time: some sample is issued before the one before it was answered.
    assert (samples.issued_ns[1:] < samples.completed_ns[:-1]).any()
    assert run.result["accuracy"]["quality"] == in_process_quality
    assert not check(run.path).disagreements

"""The host board: its state machine under any bytes, and the process with real models on a real line."""

import contextlib
import signal
import subprocess
import sys
import time

import hypothesis
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import DataError, MissingExtraError, UnknownNameError
from gnomon.device.dut import Dut
from gnomon.device.host.firmware import MOST_PAYLOAD_BYTES, Firmware
from gnomon.device.host.models import PICTURES, Quantization, open_model
from gnomon.device.line import open_line
from gnomon.device.wire import LineReader, ProtocolError, parse
from tests.device.boards import started

pytestmark = pytest.mark.timeout(30)
quick = hypothesis.settings(deadline=None, derandomize=True, max_examples=200)
HOST = ("-m", "gnomon.device.host")
RUNTIMES = ("litert", "tflite-micro")


class Echo:
    """Instead of a model: answers with the first bytes of its input."""

    def __init__(self, size=4):
        self.size, self.payload, self.inferred = size, b"", 0

    def load(self, payload):
        self.payload = payload
        return "" if len(payload) == self.size else f"The input has {len(payload)} bytes"

    def infer(self, count):
        self.inferred += count

    def results(self):
        return [byte / 1000 for byte in self.payload[:4]]


class Board:
    """A firmware without a line: commands in, lines out."""

    def __init__(self, **options):
        self.said, self.time_us = b"", 0
        self.model = Echo()
        self.firmware = Firmware(self.model, "kws01", self._write, self._clock, **options)

    def _write(self, data):
        self.said += data

    def _clock(self):
        self.time_us += 10
        return self.time_us

    def __call__(self, command):
        """What is answered to a command, without the last `m-ready`."""
        self.said = b""
        self.firmware.receive(command.encode() + b"%")
        *lines, ready, end = self.said.decode().split("\r\n")
        assert (ready, end) == ("m-ready", "")
        return lines


def loaded():
    board = Board()
    board("db load 4")
    board("db 01020304")
    return board


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("name", ["m-name-dut-[unspecified]"]),
        ("profile", ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[kws01]"]),
        ("timestamp", ["m-lap-us-10"]),
        ("db", ["e-[Command 'db' requires a subcommand]"]),
        ("db load", ["e-[Command 'db load' requires the # of bytes]"]),
        ("db load 0", ["e-[Command 'db load' must be >0 bytes]"]),
        ("db load x", ["e-[Command 'db load' must be >0 bytes]"]),
        ("db load 4", ["m-[Expecting 4 bytes]"]),
        ("db load 27649", ["Supplied buffer size 27649 exceeds maximum of 27648"]),
        ("db load -1", ["Supplied buffer size -1 exceeds maximum of 27648"]),
        ("db 012", ["e-[Insufficent number of hex digits]"]),
        ("db 01zz", ["e-[Invalid hex digit 'zz']"]),
        ("db 0102", []),
        ("db print", ["m-buffer-01-02-03-04"]),
        ("infer 0", ["e-[Inference iterations must be >0]"]),
        ("infer -1 0", ["e-[Inference iterations must be >0]"]),
        ("infer 1 -1", ["e-[Inference warmup must be >=0]"]),
        ("results", ["m-results-[0.001,0.002,0.003,0.004]"]),
        ("nonsense 1", ["e-[Unknown command: nonsense]"]),
        ("  name  ", ["m-name-dut-[unspecified]"]),
        ("name\0x", ["m-name-dut-[unspecified]"]),
        ("", ["e-[Unknown command: ]"]),
    ],
)
def test_every_command_and_error_is_answered_as_by_the_fields_firmware(command, answer):
    board = loaded()
    board("infer 1 0")
    board.time_us = 0
    assert board(command) == answer


def test_a_window_is_told_step_by_step():
    board = loaded()
    assert board("infer 3 2") == [
        "m-warmup-start-2",
        "m-warmup-done",
        "m-infer-start-3",
        "m-lap-us-10",
        "m-lap-us-20",
        "m-infer-done",
        "m-results-[0.001,0.002,0.003,0.004]",
    ]
    assert board.model.inferred == 5


def test_ten_warm_ups_are_what_a_board_does_when_it_is_told_nothing():
    assert loaded()("infer")[::2][:2] == ["m-warmup-start-10", "m-infer-start-1"]


def test_a_board_built_for_energy_makes_pulses_and_tells_no_time():
    pulses = []
    board = Board(energy=True, pulse=lambda: pulses.append(None))
    board.firmware.boot()
    assert board.said == b"m-timestamp-mode-energy\r\nm-init-done\r\nm-ready\r\n"
    board("db load 4")
    board("db 01020304")
    assert not any("lap" in line for line in board("infer 3 0"))
    assert board("timestamp") == []
    assert len(pulses) == 4


def test_a_load_is_done_when_all_bytes_are_there_and_what_is_over_is_left():
    board = Board()
    board("db load 3")
    assert board("db 01") == []
    assert board("db 0203ff") == ["m-load-done"]
    assert board("db print") == ["m-buffer-01-02-03"]


def test_an_input_that_is_not_whole_is_not_inferred_on():
    board = Board()
    board("db load 4")
    board("db 0102")
    assert board("infer 1 0") == ["e-[The input has 2 bytes]"]
    assert board.model.inferred == 0


COMMANDS = [
    *(b"name", b"profile", b"db ", b"db load ", b"db print", b"infer ", b"results", b"timestamp"),
    *(b"%", b" ", b"12", b"-3", b"0g", b"a1b2", b"\0", b"9" * 90),
]


@quick
@given(st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(COMMANDS)), max_size=40))
def test_any_bytes_at_all_get_one_answer_a_percent_sign_and_lines_a_host_understands(pieces):
    board = Board()
    for piece in pieces:
        board.firmware.receive(piece)
    whole = Board()
    whole.firmware.receive(b"".join(pieces))
    assert whole.said == board.said
    assert board.said.count(b"m-ready\r\n") == b"".join(pieces).count(b"%")
    for line in LineReader().feed(board.said):
        with contextlib.suppress(ProtocolError):  # only an unknown command that is quoted back
            parse(line)


def test_no_flood_of_bytes_makes_a_board_hold_more_than_its_buffers():
    board = Board()
    board.firmware.receive(b"x" * 1_000_000)
    assert len(board("")[0]) < 120
    board("db load 27648")
    for _ in range(1000):
        board("db " + "00" * 38)
    assert board("db print")[-1] == "m-buffer-00-00-00-00-00-00-00-00"
    assert len(board.firmware._payload) <= MOST_PAYLOAD_BYTES


# Models


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model of 490 inputs and 12 outputs."""
    pytest.importorskip("ai_edge_litert")
    from tests.device.small_models import dense

    return dense(tmp_path_factory.mktemp("model") / "small.tflite", inputs=490, outputs=12)


def opened(path, model_id, runtime):
    pytest.importorskip({"litert": "ai_edge_litert", "tflite-micro": "tflite_micro"}[runtime])
    return open_model(path, model_id, runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_bytes_are_taken_as_they_are_or_less_128_by_the_benchmark(model, runtime):
    stored = np.random.default_rng(1).integers(-128, 128, 490, dtype=np.int8)
    keywords, pictures = (opened(model, name, runtime) for name in ("kws01", PICTURES[0]))
    assert keywords.load(stored.tobytes()) == ""
    assert pictures.load((stored.astype(np.int16) + 128).astype(np.uint8).tobytes()) == ""
    for loaded_model in (keywords, pictures):
        loaded_model.infer(1)
    assert keywords.results() == pictures.results()
    assert len(set(keywords.results())) > 2
    once = keywords.results()
    keywords.infer(5)
    assert keywords.results() == once


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_input_of_the_wrong_size_is_named(model, runtime):
    assert opened(model, "kws01", runtime).load(bytes(3)) == "The input has 3 bytes of 490"


def test_both_runtimes_answer_alike(model):
    models = [opened(model, "kws01", runtime) for runtime in RUNTIMES]
    random = np.random.default_rng(2)
    for _ in range(20):
        payload = random.bytes(490)
        answers = []
        for each in models:
            assert each.load(payload) == ""
            each.infer(1)
            answers.append(each.results())
        np.testing.assert_allclose(*answers, atol=1.01 / 256)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_autoencoder_answers_with_its_mean_squared_error(tmp_path, runtime):
    pytest.importorskip("ai_edge_litert")
    from tests.device.small_models import dense

    path = dense(tmp_path / "ad.tflite", inputs=64, outputs=64, in_scale=0.3, out_scale=0.2)
    anomalies, plain = opened(path, "ad01", runtime), opened(path, "other", runtime)
    assert anomalies.payload_size == 256
    values = np.random.default_rng(3).normal(0, 20, 64).astype("<f4")
    stored = np.clip(np.round(values.astype(np.float64) / np.float32(0.3)) + 3, -128, 127)
    assert anomalies.load(values.tobytes()) == ""
    assert plain.load(stored.astype(np.int8).tobytes()) == ""
    for each in (anomalies, plain):
        each.infer(1)
    expected = np.mean((np.array(plain.results()) - values) ** 2)
    assert anomalies.results() == [pytest.approx(expected, rel=1e-9)]


@quick
@given(st.binary(min_size=16, max_size=16))
def test_any_floats_are_quantised_without_complaint(data):
    values = np.frombuffer(data, dtype="<f4")
    stored = Quantization(0.25, 3).quantized(values)
    for value, step in zip(values.tolist(), stored.tolist(), strict=True):
        exact = 0.0 if np.isnan(value) else np.clip(value / 0.25, -1e9, 1e9)
        assert step == np.clip(np.trunc(exact + np.copysign(0.5, exact)) + 3, -128, 127)


def test_what_is_no_model_is_refused_with_its_name(tmp_path, model):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"not a model at all")
    for runtime in RUNTIMES:
        with pytest.raises(DataError, match=r"bad\.tflite"):
            opened(bad, "kws01", runtime)
    with pytest.raises(DataError, match="missing"):
        open_model(tmp_path / "none.tflite", "kws01", "litert")
    with pytest.raises(UnknownNameError, match="did you mean 'litert'"):
        open_model(model, "kws01", "liteRT")
    with pytest.raises(DataError, match="no autoencoder"):
        open_model(model, "ad01", "litert")


def test_without_its_package_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError, match=r"ai-edge-litert.*gnomon\[tiny\]"):
        open_model(model, "kws01", "litert")


# The process


def host(model, *options, **streams):
    streams.setdefault("stderr", subprocess.DEVNULL)
    return started(*HOST, "--model", model, "--model-id", "kws01", *options, **streams)


@pytest.mark.parametrize("options", [(), ("--tcp", "0"), ("--runtime", "tflite-micro")])
def test_the_process_is_a_board_on_its_line_and_ends_when_the_line_closes(model, options):
    pytest.importorskip("serial")
    pytest.importorskip("tflite_micro")
    payload = np.random.default_rng(4).bytes(490)
    expected = opened(model, "kws01", "tflite-micro" if "tflite-micro" in options else "litert")
    expected.load(payload)
    expected.infer(1)
    with host(model, *options) as board:
        with contextlib.closing(open_line(board.address)) as line:
            dut = Dut(line)
            met = dut.hello("kws01")
            assert (met.name, met.timestamp_mode) == ("gnomon host board", "performance")
            assert dut.load(payload).verified
            done = dut.infer(20, 2)
            np.testing.assert_allclose(done.results, expected.results(), atol=5.01e-4)
            host_us = (done.host_end_ns - done.host_start_ns) / 1000
            assert 0 < done.lap_end_us - done.lap_start_us < host_us + 20_000
        assert board.process.wait(5) == 0


def test_a_load_of_the_largest_payload_takes_far_less_than_two_seconds(tmp_path):
    pytest.importorskip("serial")
    pytest.importorskip("ai_edge_litert")
    from tests.device.small_models import dense

    model = dense(tmp_path / "large.tflite", inputs=27_648, outputs=2)
    payload = np.random.default_rng(5).bytes(27_648)
    with host(model) as board, contextlib.closing(open_line(board.address)) as line:
        dut = Dut(line, verify="doubt")
        dut.hello()
        took_s = []
        for _ in range(3):
            start = time.monotonic()
            assert dut.load(payload).loads == 1
            took_s.append(time.monotonic() - start)
        assert dut.infer(1, 0).results.shape == (2,)
    assert min(took_s) < 2


def test_standard_streams_can_be_the_line(model):
    told = subprocess.run(
        [sys.executable, *HOST, "--model", model, "--model-id", "ic01", "--stdio", "--energy"],
        input=b"name%profile%",
        capture_output=True,
        timeout=20,
        check=True,
    )
    lines = told.stdout.decode().split()
    assert lines[0] == "m-timestamp-mode-energy"
    assert "m-model-[ic01]" in lines
    assert lines.count("m-ready") == 3


def test_a_model_that_is_not_there_ends_the_process_with_one_line(tmp_path):
    told = subprocess.run(
        [sys.executable, *HOST, "--model", tmp_path / "x.tflite", "--model-id", "kws01"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert told.returncode == 2
    assert told.stdout == ""
    assert told.stderr.startswith("host board: model")
    assert len(told.stderr.splitlines()) == 1


PARENT = """
import subprocess, sys
board = subprocess.Popen([sys.executable, *sys.argv[1:]], stderr=subprocess.DEVNULL)
print(board.pid, flush=True)
board.wait()
"""


@pytest.mark.parametrize("busy", [False, True])
def test_the_process_ends_with_the_one_that_started_it_also_in_a_window(model, busy):
    pytest.importorskip("serial")
    command = (*HOST, "--model", model, "--model-id", "kws01")
    with started("-c", PARENT, *command) as parent:
        first = parent.address
        second = parent.process.stdout.readline().decode().strip()
        pid, address = sorted((first, second), key=lambda line: not line.isdigit())
        with contextlib.closing(open_line(address)) as line:
            dut = Dut(line)
            dut.hello()
            dut.load(bytes(490))
            if busy:
                line.write(b"infer 1000000000 0%")
            parent.process.send_signal(signal.SIGKILL)
            parent.process.wait()
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and _lives(int(pid)):
                time.sleep(0.05)
            assert not _lives(int(pid))


def _lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

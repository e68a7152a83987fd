"""The conversation with a board, held with real processes on PTYs that do wrong what boards do wrong."""

import contextlib
import re
import time

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.core.errors import SettingsError, SystemFault
from gnomon.device.dut import Dut
from gnomon.device.line import open_line
from tests.device.boards import misbehaving
from tests.device.misbehaving import halves

pytest.importorskip("serial")
pytestmark = pytest.mark.timeout(30)

KEYWORDS = bytes(index * 7 % 256 for index in range(490))
PICTURE = bytes(index * 11 % 251 for index in range(1200))
WRAP = 1 << 32


@contextlib.contextmanager
def talking(options=None, **script):
    """A conversation with a board that misbehaves as told."""
    with misbehaving(**script) as board, contextlib.closing(open_line(board.address)) as line:
        dut = Dut(line, **{"command_timeout_s": 1.0, **(options or {})})
        dut.process = board.process
        yield dut


def fault_of(act):
    """The one line of a fault, and how long it took."""
    start = time.monotonic()
    with pytest.raises(SystemFault) as caught:
        act()
    said = str(caught.value)
    assert "\n" not in said
    return said, time.monotonic() - start


def test_a_board_says_who_it_is_and_answers_for_what_it_was_loaded_with():
    with talking() as dut:
        met = dut.hello("kws01")
        assert (met.name, met.model_id, met.timestamp_mode) == (
            "misbehaving",
            "kws01",
            "performance",
        )
        assert met.profile.startswith("ULPMark")
        loaded = dut.load(KEYWORDS)
        assert (loaded.size, loaded.loads, loaded.resent, loaded.verified) == (490, 1, 0, True)
        done = dut.infer(3, 1)
        assert (done.iterations, done.warmups, done.counter_wrapped) == (3, 1, False)
        assert 0 <= done.lap_end_us - done.lap_start_us < 1e6
        assert done.host_end_ns >= done.host_start_ns
        assert done.results.tolist() == dut.results().tolist() == halves(KEYWORDS)


def test_a_board_that_is_still_booting_is_waited_for_and_its_banner_kept():
    with talking(boot_s=0.4) as dut:
        met = dut.hello()
    assert met.banner[0] == "m-timestamp-mode-performance"
    assert "m-init-done" in met.banner


def test_the_transcript_has_everything_that_was_said_in_order_of_time():
    heard = []
    with talking({"observer": lambda *each: heard.append(each)}) as dut:
        dut.hello()
        dut.load(b"\x01\x02")
        dut.infer(1, 0)
    texts = [text for direction, _, text in heard if direction == "sent"]
    assert texts[-4:] == ["db load 2", "db 0102", "db print", "infer 1 0"]
    answers = [text for direction, _, text in heard if direction == "received"]
    assert "m-buffer-01-02" in answers
    assert answers[-1] == "m-ready"
    times = [at_ns for _, at_ns, _ in heard]
    assert times == sorted(times)


def test_a_board_built_for_energy_tells_no_time():
    with talking(energy=True) as dut:
        assert dut.hello().timestamp_mode == "energy"
        dut.load(KEYWORDS)
        done = dut.infer(2, 0)
    assert done.lap_start_us is None
    assert done.lap_end_us is None
    assert done.results.tolist() == halves(KEYWORDS)


def test_a_board_behind_an_io_manager_is_reached_through_it():
    with talking({"io_manager": True}, io_manager=True) as dut:
        assert dut.hello("kws01").name == "misbehaving"
        assert dut.load(KEYWORDS).verified
        assert dut.infer(2, 0).results.tolist() == halves(KEYWORDS)


def test_another_dialect_is_understood():
    with talking(dialect=True) as dut:
        met = dut.hello("kws01")
        assert met.name == "misbehaving"
        assert dut.load(KEYWORDS).verified
        done = dut.infer(2, 0)
    assert done.results.tolist() == halves(KEYWORDS)
    assert done.lap_end_us >= done.lap_start_us


def test_another_model_than_the_one_to_be_measured_is_refused():
    with talking(model_id="ic01") as dut:
        said, _ = fault_of(lambda: dut.hello("kws01"))
    assert "has model 'ic01' where 'kws01' is to be measured" in said


def test_two_names_of_one_model_are_taken_for_the_same():
    with talking(model_id="strww01") as dut:
        assert dut.hello("sww01").model_id == "strww01"


def test_a_board_that_never_says_ready_is_a_fault_that_says_all_there_is_to_know():
    with talking({"command_timeout_s": 0.3}, never_ready="results") as dut:
        dut.hello()
        said, took_s = fault_of(dut.results)
    assert re.search(
        r"no m-ready within [\d.]+ s; sent 'results', awaited m-ready; last lines: ", said
    )
    assert "m-results-[0.000,0.000]" in said
    assert took_s < 2


@pytest.mark.parametrize("how", [{"never_ready": "db 0"}, {"die": "db load", "delay_s": 0}])
def test_a_board_that_stops_answering_while_it_is_loaded_is_given_up_soon(how):
    with talking({"command_timeout_s": 0.2}, **how) as dut:
        dut.hello()
        _, took_s = fault_of(lambda: dut.load(PICTURE))
    assert took_s < 6


def test_a_port_on_which_nothing_speaks_the_protocol_is_given_up_after_the_time_to_boot():
    with talking({"command_timeout_s": 0.3}, never_ready="name") as dut:
        said, took_s = fault_of(lambda: dut.hello(boot_timeout_s=0.6))
        assert "nothing that speaks the protocol within 0.6 s" in said
        assert took_s < 4
    with talking(mishear=[["name", "db"]]) as dut:
        said, took_s = fault_of(lambda: dut.hello(boot_timeout_s=0.6))
        assert "it does not give its name" in said
        assert took_s < 4


def test_a_board_that_talks_without_end_is_given_up():
    with talking({"command_timeout_s": 0.2}, chatter="results") as dut:
        dut.hello()
        said, took_s = fault_of(dut.results)
    assert "watchdog fed" in said
    assert took_s < 3


@pytest.mark.parametrize("beginning", ["infer", "db 0"])
def test_a_board_that_resets_in_the_middle_is_found_out(beginning):
    with talking(reset=beginning) as dut:
        dut.hello()

        def use():
            dut.load(b"\x01" * 100)
            dut.infer(5, 0)

        said, _ = fault_of(use)
    assert "reset in the middle" in said


@pytest.mark.parametrize("how", ["die", "hang_up"])
def test_a_board_that_is_unplugged_during_a_window_is_a_fault_in_one_line(how):
    with talking(inference_s=0.1, **{how: "infer"}) as dut:
        dut.hello()
        dut.load(KEYWORDS)
        said, took_s = fault_of(lambda: dut.infer(50, 0))
    assert "is gone" in said
    assert took_s < 6


LOSSES = {
    "drop": {"drop": 0.001},
    "double": {"double": 0.001},
    "both": {"drop": 5e-4, "double": 5e-4},
}


@pytest.mark.parametrize("baud", [115_200, 921_600])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_load_survives_a_port_that_drops_and_doubles_characters(loss, baud):
    options = {"command_timeout_s": 0.5}
    with talking(options, baud=baud, seed=3, **LOSSES[loss]) as dut:
        dut.hello()
        loaded = [dut.load(each) for each in (KEYWORDS, PICTURE)]
        assert dut.infer(1, 0).results.tolist() == halves(PICTURE)
    assert sum(each.resent + each.loads - 1 for each in loaded) > 0
    assert any(each.verified for each in loaded)


def test_a_port_that_loses_too_much_is_given_up_in_one_line():
    with talking({"command_timeout_s": 0.2}, drop=0.05, seed=1, clean_bytes=30) as dut:
        dut.hello()
        said, took_s = fault_of(lambda: dut.load(KEYWORDS))
    assert "sent 'db" in said or "in 5 loads: characters are lost" in said
    assert took_s < 20


def test_digits_that_turn_into_others_are_found_by_reading_back():
    with talking({"verify": "always"}, flip=4e-4, seed=5) as dut:
        dut.hello()
        loaded = [dut.load(KEYWORDS) for _ in range(8)]
        assert dut.infer(1, 0).results.tolist() == halves(KEYWORDS)
    assert all(each.verified for each in loaded)
    assert sum(each.loads for each in loaded) > 8


def test_digits_that_turn_into_others_each_time_are_a_fault():
    wrong = [["db " + KEYWORDS[:31].hex(), "db " + bytes(31).hex()]]
    with talking(mishear=wrong) as dut:
        dut.hello()
        said, _ = fault_of(lambda: dut.load(KEYWORDS))
    assert "in 5 loads" in said
    assert "it holds 490 bytes of 490, different from byte 1 on" in said


def test_a_board_that_cannot_print_what_it_holds_is_believed_if_it_counted_right():
    with talking(mishear=[["db print", "db load"]]) as dut:
        dut.hello()
        assert not dut.load(KEYWORDS).verified
        assert dut.infer(1, 0).results.tolist() == halves(KEYWORDS)


@pytest.mark.parametrize("command", ["db load", "db 0", "infer", "name", "profile"])
def test_the_answer_to_a_doubled_percent_sign_is_not_taken_for_that_to_the_next_command(command):
    with talking(stray_percent_after=command) as dut:
        dut.hello("kws01")
        for payload in (KEYWORDS, PICTURE):
            dut.load(payload)
            assert dut.infer(2, 0).results.tolist() == halves(payload)


def test_a_payload_that_is_too_large_is_refused_with_the_boards_words():
    with talking() as dut:
        dut.hello()
        said, _ = fault_of(lambda: dut.load(bytes(30_000)))
    assert "no room for 30000 bytes" in said
    assert "exceeds maximum of 27648" in said


def test_a_window_of_other_length_than_was_asked_for_is_refused():
    with talking(mishear=[["infer 300 0", "infer 30 0"]]) as dut:
        dut.hello()
        dut.load(KEYWORDS)
        said, _ = fault_of(lambda: dut.infer(300, 0))
    assert "it understood 30: lost characters" in said


def test_an_error_of_the_board_is_passed_on():
    with talking() as dut:
        dut.hello()
        said, _ = fault_of(lambda: dut.infer(0, 0))
    assert "e-[Inference iterations must be >0]" in said


def test_a_board_that_stops_after_an_error_is_not_waited_for_as_long_as_a_window_takes():
    mistaken = [["infer 500 0", "infer 0 0"]]
    with talking({"command_timeout_s": 0.3}, mishear=mistaken, never_ready="infer") as dut:
        dut.hello()
        dut.load(KEYWORDS)
        said, took_s = fault_of(lambda: dut.infer(500, 0))
    assert "e-[Inference iterations must be >0]" in said
    assert took_s < 5


class Rehearsed:
    """A line on which everything that is ever said lies ready: one piece a read, silence between."""

    address = "rehearsed"

    def __init__(self, pieces):
        self._pieces = list(pieces)

    def write(self, data):
        assert data.endswith(b"%")

    def read(self, timeout_s):
        del timeout_s
        return self._pieces.pop(0) if self._pieces else b""

    def close(self):
        self._pieces = []


SAID = [
    b"m-ready\r\n",
    b"m-name-dut-[x]\r\nm-ready\r\n",
    b"m-model-[kws01]\r\nm-ready\r\n",
    b"m-lap-us-1\r\n",
    b"m-[Expecting 3 bytes]\r\nm-ready\r\n",
    b"m-load-done\r\nm-ready\r\n",
    b"m-buffer-61-62-63\r\nm-ready\r\n",
    b"m-infer-start-2\r\nm-lap-us-5\r\nm-lap-us-4294967299\r\nm-infer-done\r\n",
    b"m-results-[nan,1]\r\n",
    b"m-results-[1e999]\r\n",
    b"m-timestamp-mode-energy\n",
    b"e-[Unknown command: x]\r\n",
    b"",
]


@hypothesis.settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(st.one_of(st.sampled_from(SAID), st.binary(max_size=30)), max_size=60))
def test_nothing_that_a_board_says_raises_anything_but_a_fault_in_one_line(pieces):
    dut = Dut(Rehearsed(pieces), command_timeout_s=0.01)
    for use in (
        lambda: dut.hello("kws01", boot_timeout_s=0),
        lambda: dut.load(b"abc"),
        lambda: dut.infer(2, 0),
        dut.results,
        dut.timestamp,
    ):
        try:
            use()
        except SystemFault as fault:
            assert "\n" not in str(fault)  # noqa: PT017 - most do not raise


def test_a_window_that_is_silent_for_longer_than_a_command_may_be_is_waited_for():
    with talking({"command_timeout_s": 0.3}, inference_s=0.01) as dut:
        dut.hello()
        dut.load(KEYWORDS)
        done = dut.infer(50, 0, expected_s=0.5)
        again = dut.infer(60, 0)
    assert done.lap_end_us - done.lap_start_us > 0.45e6
    assert again.lap_end_us - again.lap_start_us > 0.55e6


def test_a_timestamp_that_runs_backwards_is_refused():
    with talking(laps=[5_000_000, 4_000_000]) as dut:
        dut.hello()
        dut.load(KEYWORDS)
        said, _ = fault_of(lambda: dut.infer(1, 0))
    assert "its clock runs backwards" in said


@pytest.mark.parametrize("counts", ["time", "instructions"])
def test_a_wrap_of_the_32_bit_counter_is_mended_and_on_record(counts):
    laps = [WRAP - 60_000, 40_000]
    with talking({"counts": counts}, laps=laps, inference_s=0.1) as dut:
        dut.hello()
        dut.load(KEYWORDS)
        done = dut.infer(1, 0)
    assert done.counter_wrapped
    assert (done.lap_start_us, done.lap_end_us) == (WRAP - 60_000, WRAP + 40_000)


@pytest.mark.parametrize("laps", [[WRAP - 1, 60_000_000], [3_000_000_000, 1_000], [WRAP + 9, 3]])
def test_what_cannot_be_a_wrap_of_the_counter_is_refused(laps):
    with talking(laps=laps) as dut:
        dut.hello()
        dut.load(KEYWORDS)
        said, _ = fault_of(lambda: dut.infer(1, 0))
    assert "runs backwards" in said


@pytest.mark.parametrize("size", [0, 37, -1])
def test_chunks_that_do_not_fit_a_command_are_refused(size):
    with pytest.raises(SettingsError, match="chunk_bytes"), talking({"chunk_bytes": size}):
        pass

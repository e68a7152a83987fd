from __future__ import annotations

import pytest

from gnomon.core.errors import DataError
from gnomon.device.record import Window
from gnomon.device.transcript import inferences_of_files, inferences_of_windows, read_transcript

CONVERSATION = """\
      0.001000 > name
      0.002000 < m-name-dut-[test-board]
      0.003000 < m-ready
      0.010000 > db load 490
      0.011000 < m-[Expecting 490 bytes]
      0.012000 < m-ready
      0.100000 > infer 10 0
      0.101000 < m-warmup-start-0
      0.102000 < m-lap-us-100
      0.103000 < m-lap-us-90100
      0.104000 < m-results-[0.250,0.750]
      0.105000 < m-ready
      0.200000 > infer 1000 10
      0.201000 < m-lap-us-4294967000
      9.200000 < m-lap-us-4032704
      9.201000 < m-results-[0.250,0.750]
      9.202000 < m-ready
      9.300000 > db load 490
      9.400000 < m-ready
      9.500000 > infer 1000 10
      9.600000 < m-lap-us-5000000
"""
GONE_ON_WITH = """\
      0.001000 > db load 490
      0.010000 < m-ready
      0.100000 > infer 1000 10
      0.200000 < m-lap-us-1000
      9.200000 < m-lap-us-9001000
      9.300000 < m-ready
"""


def window(file, start_us, end_us, iterations=1000):
    return Window(
        sample=0,
        file=file,
        iterations=iterations,
        warmups=10,
        start_us=start_us,
        end_us=end_us,
        host_clock=False,
        wrapped=False,
        host_start_ns=0,
        host_end_ns=0,
        results=(0.25, 0.75),
    )


@pytest.fixture
def transcript(tmp_path):
    file = tmp_path / "log.txt"
    file.write_text(CONVERSATION + GONE_ON_WITH)
    return read_transcript(file)


def test_a_conversation_becomes_inferences_and_what_was_broken_off_is_left_out(transcript):
    assert [line.text for line in transcript.greeting] == ["m-name-dut-[test-board]", "m-ready"]
    trial, first, second = transcript.inferences
    assert (trial.iterations, trial.warmups, trial.duration_s) == (10, 0, 0.09)
    assert (first.payload_size, first.load_start_s, first.load_end_s) == (490, 0.01, 0.1)
    assert (first.command_s, first.results) == (0.2, (0.25, 0.75))
    assert second.load_start_s == pytest.approx(9.6)
    assert transcript.end_s == pytest.approx(18.899)


def test_windows_are_found_by_the_boards_timestamps_over_a_wrap_too(transcript):
    windows = [window("a.bin", 4294967000, 2**32 + 4032704), window("b.bin", 1000, 9001000)]
    first, second = inferences_of_windows(transcript, windows)
    assert (first.file, first.lap_us) == ("a.bin", (4294967000, 4032704))
    assert (second.file, second.duration_s) == ("b.bin", 9.0)
    with pytest.raises(DataError, match="window 2 of 1000 inferences is not in the conversation"):
        inferences_of_windows(transcript, [windows[0], window("c.bin", 7, 8)])


def test_windows_without_timestamps_are_taken_in_their_order(tmp_path):
    file = tmp_path / "log.txt"
    kept = [line for line in (CONVERSATION + GONE_ON_WITH).splitlines() if "lap-us" not in line]
    file.write_text("\n".join(kept))
    windows = [window("a.bin", 1, 2), window("b.bin", 3, 4)]
    found = inferences_of_windows(read_transcript(file), windows)
    assert [(each.file, each.iterations, each.lap_us) for each in found] == [
        ("a.bin", 1000, ()),
        ("b.bin", 1000, ()),
    ]


def test_inputs_of_an_accuracy_test_get_their_names(tmp_path):
    file = tmp_path / "log.txt"
    load = "{0}.0 > db load 2560\n{0}.1 < m-ready\n{0}.2 > infer 1 0\n{0}.3 < m-ready\n"
    file.write_text("".join(load.format(second) for second in range(3)))
    transcript = read_transcript(file)
    first, second = inferences_of_files(transcript, [("a.bin", 0), ("a.bin", 512)])
    assert (first.file, first.offset, first.load_start_s) == ("a.bin", 0, 1.0)
    assert (second.offset, second.file_size, second.load_start_s) == (512, 3072, 2.0)
    with pytest.raises(DataError, match=r"4 inputs were inferred, the conversation .* has 3"):
        inferences_of_files(transcript, [("a.bin", 0)] * 4)


def test_a_line_that_is_none_of_a_conversation_is_named(tmp_path):
    file = tmp_path / "log.txt"
    file.write_text("      0.001000 > name\nhello\n")
    with pytest.raises(DataError, match="line 2: 'hello' is not seconds"):
        read_transcript(file)

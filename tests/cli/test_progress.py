"""The live line: which of several runs it names, and that it never wraps."""

import io

import pytest

from gnomon.cli.progress import CLEAR, ProgressLine, announce
from gnomon.core.protocol import Progress

FIGURES = "123,456 samples, p90 12.3 ms"


def shown(heading):
    stream = io.StringIO()
    line = ProgressLine(stream)
    if heading:
        announce(line, heading)
    line(Progress("single-stream", 0.5, 12.0, FIGURES))
    return stream.getvalue().split(CLEAR)[1:]


def test_the_line_names_the_run_and_its_number_before_and_while_it_measures(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    begins, measures = shown("2 of 4: LiteRT int8")
    assert begins == "2 of 4: LiteRT int8"
    assert measures.startswith("2 of 4: LiteRT int8  single-stream  ━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌  12 s")
    assert measures.endswith(FIGURES)


@pytest.mark.parametrize("columns", [20, 40, 80, 81, 100])
@pytest.mark.parametrize("heading", ["", "2 of 4: ONNX Runtime int8"])
def test_a_line_too_long_for_the_terminal_is_cut_as_what_wraps_could_not_be_cleared(
    monkeypatch, columns, heading
):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert all(len(part) < columns for part in shown(heading))

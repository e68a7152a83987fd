"""A run on the terminal: what it is called."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from gnomon.core.run import Run
from gnomon.results.table import run_view
from tests.results.mobile_sessions import browser_run


def _shown(run: Run) -> str:
    written = StringIO()
    Console(width=120, file=written).print(run_view(run))
    return written.getvalue()


def test_a_phones_run_is_shown_with_its_precision_and_device(tmp_path: Path):
    assert _shown(browser_run(tmp_path)).splitlines()[0] == (
        "Digits by the rules of a phone with ONNX Runtime Web fp32 on Pixel 8 (Android 14.0.0)"
    )


def test_a_run_of_another_suite_is_shown_with_the_name_of_its_system(digits_run: Run):
    assert _shown(digits_run).splitlines()[0] == "Handwritten digits on onnx"

"""Write the files of the field: `mlperf_log_summary.txt` and `mlperf_log_detail.txt`.

The accuracy log, which is written while the test runs, has a module of its own.
"""

from __future__ import annotations

from pathlib import Path

from gnomon.core.errors import RunFolderError
from gnomon.core.files import write_atomically
from gnomon.core.mllog import format_line
from gnomon.loadgen.log_detail import detail_lines
from gnomon.loadgen.log_facts import LogContext
from gnomon.loadgen.log_summary import summary_lines
from gnomon.loadgen.outcome import Outcome
from gnomon.loadgen.settings import Mode, Settings

SUMMARY_FILE = "mlperf_log_summary.txt"
DETAIL_FILE = "mlperf_log_detail.txt"


def write_logs(
    folder: Path, settings: Settings, outcome: Outcome | None, context: LogContext
) -> None:
    """Write summary and detail log of one test; `outcome` is None for accuracy tests.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    summary = "\n".join(summary_lines(settings, outcome, context)) + "\n"
    detail = (
        "\n".join(format_line(line) for line in detail_lines(settings, outcome, context)) + "\n"
    )
    try:
        write_atomically(folder / SUMMARY_FILE, summary.encode(errors="backslashreplace"))
        write_atomically(folder / DETAIL_FILE, detail.encode())
        if settings.mode is Mode.PERFORMANCE:
            write_atomically(folder / "mlperf_log_accuracy.json", b"[\n]\n")
    except OSError as error:
        raise RunFolderError(
            f"cannot write {folder}: {error.strerror}; make room or choose another folder with --out"
        ) from None

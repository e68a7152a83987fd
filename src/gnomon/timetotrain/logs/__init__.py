"""Training logs: read in every dialect of the field, written, checked against a round's rules, and scored."""

from __future__ import annotations

from gnomon.timetotrain.logs.check import LogReport, check_log, report_on
from gnomon.timetotrain.logs.entries import Dialect, LogEntry, TrainingLog
from gnomon.timetotrain.logs.read import parse_text, read_log, read_logs
from gnomon.timetotrain.logs.rulesets import RULESETS
from gnomon.timetotrain.logs.score import FolderScore, RunScore, scaling_factor, score_folder
from gnomon.timetotrain.logs.submission import (
    ResultRow,
    Submission,
    score_submission,
    write_rows,
)
from gnomon.timetotrain.logs.write import format_training_line, training_entry, write_log

__all__ = [
    "RULESETS",
    "Dialect",
    "FolderScore",
    "LogEntry",
    "LogReport",
    "ResultRow",
    "RunScore",
    "Submission",
    "TrainingLog",
    "check_log",
    "format_training_line",
    "parse_text",
    "read_log",
    "read_logs",
    "report_on",
    "scaling_factor",
    "score_folder",
    "score_submission",
    "training_entry",
    "write_log",
    "write_rows",
]

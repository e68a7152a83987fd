"""Boards on a serial line: the MLPerf Tiny protocol, timed windows, accuracy, energy between timestamps."""

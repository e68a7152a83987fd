"""Exit codes that several commands share."""

EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells have it."""

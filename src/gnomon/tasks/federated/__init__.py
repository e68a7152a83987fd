"""Data sets that are dealt out to clients: one module a format; `gnomon.fleet.task` has what they share."""

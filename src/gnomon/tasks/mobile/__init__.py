"""The tasks of MLPerf Mobile: stand-ins that ship, and the same on the user's own data."""

"""The tasks of MLPerf Tiny: what small devices hear and see, as the bytes that travel to a board."""

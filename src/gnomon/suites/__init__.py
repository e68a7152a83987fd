"""Suites of benchmarks: declarations only."""

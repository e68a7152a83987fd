"""What is done with runs: find, check, show, compare, report."""

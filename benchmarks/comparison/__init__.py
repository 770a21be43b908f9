"""A comparison with other ways to copy a mailbox into Delta: `python -m benchmarks.comparison`."""

"""The sections of `python -m sims.bench.engine`, one file each."""

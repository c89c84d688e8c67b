"""The parts of the benchmark; benchmark/run.py puts them together."""

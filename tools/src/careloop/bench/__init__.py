"""Benchmarks: figures of the whole system on this machine, beside the bare calls in the same run."""

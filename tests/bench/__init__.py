"""Benchmarks: `make bench` prints JSON with medians of several runs, and ratios where there is a peer."""

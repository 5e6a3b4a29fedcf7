"""Benchmarks: `make bench` prints JSON with medians of several runs, as ratios where there is a peer to compare with."""

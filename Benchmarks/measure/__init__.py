"""The benchmarks: C baseline and broker under the same load, in turn, on the same machine."""

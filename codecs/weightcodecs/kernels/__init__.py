"""Compiled loops: one idea a file, each with a NumPy reference for the tests. See kernels.jit."""

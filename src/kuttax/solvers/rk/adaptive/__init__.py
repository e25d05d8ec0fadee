"""Adaptive solving: the solver, its loop, and its exact reverse pass."""

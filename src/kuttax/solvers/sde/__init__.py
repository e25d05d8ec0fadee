"""Solvers of stochastic differential equations on a fixed grid."""

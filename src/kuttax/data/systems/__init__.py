"""Trajectories of dynamical systems, and windows of them."""

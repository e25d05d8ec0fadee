"""Densities of points: by likelihood or by flow matching."""

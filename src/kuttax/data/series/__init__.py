"""Time series on irregular times."""

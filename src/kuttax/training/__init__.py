"""Training: the loop, its settings, what it logs and what it saves."""

"""`solve`, and what it checks."""

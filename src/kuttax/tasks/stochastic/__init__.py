"""Tasks whose models are SDEs."""

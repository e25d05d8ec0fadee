"""How to integrate: knows no networks, no data, no training."""

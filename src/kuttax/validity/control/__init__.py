"""Step control during training."""

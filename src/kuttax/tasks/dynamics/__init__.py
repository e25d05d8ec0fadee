"""Systems identified from trajectories, and their forecasts."""

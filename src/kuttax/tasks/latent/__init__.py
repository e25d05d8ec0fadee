"""Irregular time series by latent ODEs and SDEs."""

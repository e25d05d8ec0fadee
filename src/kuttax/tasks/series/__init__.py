"""Irregular time series by neural controlled differential equations."""

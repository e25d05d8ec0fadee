"""Densities by continuous normalizing flows: a field moves a normal distribution to the data, and back."""

from .likelihood import log_prob, sample, standard_normal
from .trace import Exact, Hutchinson
from .transport import Transported, augmented, transport

__all__ = [
    "Exact",
    "Hutchinson",
    "Transported",
    "augmented",
    "log_prob",
    "sample",
    "standard_normal",
    "transport",
]

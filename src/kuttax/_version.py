"""The version: this is the only place."""

__version__ = "0.1.0"

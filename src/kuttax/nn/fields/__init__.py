"""Vector fields, as Equinox modules."""

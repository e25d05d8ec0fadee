"""Files: written atomically, listed in a manifest with their digests, and checked when read."""

"""Files: written whole or not at all, listed in a manifest with their digests, and checked when they are read."""

"""Times of a solve: elapsed, read by the field, and where steps must end."""

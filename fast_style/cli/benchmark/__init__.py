"""The benchmark: speed, memory and quality against the usual way."""

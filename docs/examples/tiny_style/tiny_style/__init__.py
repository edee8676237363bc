"""A network and a loss for fast_style."""

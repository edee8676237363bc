"""Stylizing: the Stylizer, its controls, and images that do not fit into memory."""

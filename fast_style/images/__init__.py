"""Pictures on disk and in memory: formats, color profiles, depth, what a file says of itself, and tensors."""

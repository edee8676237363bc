"""Pictures on disk and in memory: formats, colour profiles, depth, what a file says of itself, and tensors."""

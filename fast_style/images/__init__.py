"""Image files and images in memory: formats, color profiles, bit depth, metadata and tensors."""

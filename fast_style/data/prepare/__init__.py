"""Preparing training images: download, check and pack."""

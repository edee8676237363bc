"""Folders, zip and tar files as one list of files, read in place."""

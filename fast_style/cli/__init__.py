"""The command line: one file a command. Hydra lives here only."""

"""Training: the Lightning task, its callbacks, warm start, health, checkpoints and recovery."""

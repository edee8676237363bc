"""What the command evaluate compares, measures and writes."""

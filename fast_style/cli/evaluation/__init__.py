"""Parts of the command evaluate: columns to compare, measurements, and the report."""

"""Content pictures for training: where they come from, how they are drawn, checked, packed and put into batches."""

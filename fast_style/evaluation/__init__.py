"""How good stylized images are: their loss on the scale of slow optimization, and faults that one sees."""

"""Quality of stylized images: their loss compared with slow optimization, and visible faults."""

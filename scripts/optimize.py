"""Slow style transfer and texture synthesis: python scripts/optimize.py content=photo.jpg style=starry_night."""

from fast_style.cli import script

if __name__ == "__main__":
    script("optimize")

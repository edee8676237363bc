"""Slow style transfer and texture synthesis: python scripts/optimize.py content=photo.jpg style=starry_night."""

from fast_style.cli.optimize import entry_point

if __name__ == "__main__":
    entry_point()

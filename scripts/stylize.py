"""Stylise pictures and films: python scripts/stylize.py ckpt=starry_night input=photo.jpg."""

from fast_style.cli.stylize import entry_point

if __name__ == "__main__":
    entry_point()

"""Stylize pictures and videos: python scripts/stylize.py ckpt=starry_night input=photo.jpg."""

from fast_style.cli import script

if __name__ == "__main__":
    script("stylize")

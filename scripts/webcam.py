"""Stylise what a camera sees, as it sees it: python scripts/webcam.py ckpt=starry_night."""

from fast_style.cli.webcam import entry_point

if __name__ == "__main__":
    entry_point()

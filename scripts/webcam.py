"""Stylize what a camera sees, as it sees it: python scripts/webcam.py ckpt=starry_night."""

from fast_style.cli import script

if __name__ == "__main__":
    script("webcam")

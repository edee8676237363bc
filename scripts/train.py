"""Learn one style or several: python scripts/train.py style=starry_night."""

from fast_style.cli import script

if __name__ == "__main__":
    script("train")

"""Learn one style or several: python scripts/train.py style=starry_night."""

from fast_style.cli.train import entry_point

if __name__ == "__main__":
    entry_point()

"""How good networks are: python scripts/evaluate.py ckpt=starry_night data.source=photos."""

from fast_style.cli.evaluate import entry_point

if __name__ == "__main__":
    entry_point()

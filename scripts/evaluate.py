"""How good networks are: python scripts/evaluate.py ckpt=starry_night data.source=photos."""

from fast_style.cli import script

if __name__ == "__main__":
    script("evaluate")

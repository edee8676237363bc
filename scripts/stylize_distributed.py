"""Stylize many pictures on many machines: python scripts/stylize_distributed.py ckpt=starry_night input=A output=B."""

from fast_style.cli import script

if __name__ == "__main__":
    script("stylize_distributed")

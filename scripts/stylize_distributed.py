"""Stylise many pictures on many machines: python scripts/stylize_distributed.py ckpt=starry_night input=A output=B."""

from fast_style.cli.stylize_distributed import entry_point

if __name__ == "__main__":
    entry_point()

"""Photographs to train on: python scripts/prepare_data.py coco=val2017 root=photos."""

from fast_style.cli.data import entry_point

if __name__ == "__main__":
    entry_point()

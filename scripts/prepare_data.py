"""Photographs to train on: python scripts/prepare_data.py coco=val2017 root=photos."""

from fast_style.cli import script

if __name__ == "__main__":
    script("prepare_data")

"""How fast, and how much memory, against the usual way and the machine's floor: python scripts/benchmark.py."""

from fast_style.cli import script

if __name__ == "__main__":
    script("benchmark")

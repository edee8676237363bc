"""How fast, and how much memory, against the usual way and the machine's floor: python scripts/benchmark.py."""

from fast_style.cli.benchmark.command import entry_point

if __name__ == "__main__":
    entry_point()

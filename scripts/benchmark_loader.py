"""How many training crops a second one core delivers, by where they come from: python scripts/benchmark_loader.py."""

from fast_style.cli.benchmark.worker import print_loader

if __name__ == "__main__":
    print_loader()

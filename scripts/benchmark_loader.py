"""How many training crops a second one core delivers, by where they come from: python scripts/benchmark_loader.py."""

import json
import sys
from pathlib import Path

from fast_style.cli.benchmark.worker import measure_loader

if __name__ == "__main__":
    print(json.dumps(measure_loader(Path(sys.argv[1]) if sys.argv[1:] else None), indent=2))

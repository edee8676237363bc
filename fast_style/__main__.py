"""python -m fast_style: the command `fast-style`."""

from fast_style.cli import main

if __name__ == "__main__":
    main()

"""What the package logs, on the command line: plain lines on standard error."""

import logging
import sys


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Asked for each time: a progress bar puts itself in its place.
        print(self.format(record), file=sys.stderr, flush=True)


def log_to_standard_error() -> None:
    """Show what the package logs as it is, and nowhere else."""
    logger = logging.getLogger("fast_style")
    logger.setLevel(logging.INFO)
    logger.handlers, logger.propagate = [_Lines()], False

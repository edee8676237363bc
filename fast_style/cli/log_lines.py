"""The package's log messages as plain lines on standard error."""

import logging
import sys


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Looked up for each message: a progress bar replaces sys.stderr.
        print(self.format(record), file=sys.stderr, flush=True)


def log_to_standard_error() -> None:
    """Print the package's log messages to standard error only."""
    logger = logging.getLogger("fast_style")
    logger.setLevel(logging.INFO)
    logger.handlers, logger.propagate = [_Lines()], False

"""The cache folder: files that can be rebuilt in minutes."""

import logging
import os
from pathlib import Path

from fast_style.system.files import atomic_write, remove_leftovers

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the cache folder: FAST_STYLE_CACHE, or the system's folder for caches."""
    if own := os.environ.get("FAST_STYLE_CACHE"):
        return Path(own).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("fast_style")


def write_cached(path: Path, data: bytes, again: str) -> None:
    """Write a file to the cache folder atomically; on failure, only log a warning.

    Args:
        path: the file.
        data: its content.
        again: what the next run must do again without the file, for the warning.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, older_than=3600)
        with atomic_write(path) as target:
            target.write(data)
    except OSError as error:
        _log.warning(
            "%s: cannot be written (%s), so the next run %s again; FAST_STYLE_CACHE names another folder",
            *(path.parent, error.strerror, again),
        )

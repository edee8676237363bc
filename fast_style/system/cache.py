"""What can be made again, but at a price, in a folder of ours."""

import logging
import os
from pathlib import Path

from fast_style.system.files import sweep, written_whole

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder: FAST_STYLE_CACHE, or the system's for what can be made again."""
    if own := os.environ.get("FAST_STYLE_CACHE"):
        return Path(own).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("fast_style")


def keep(path: Path, data: bytes, again: str) -> None:
    """Write a file of the folder, whole; where that cannot be, say what the next run does `again`, and go on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, older_than=3600)
        with written_whole(path) as target:
            target.write(data)
    except OSError as error:
        _log.warning(
            "%s: cannot be written (%s), so the next run %s again; FAST_STYLE_CACHE names another folder",
            *(path.parent, error.strerror, again),
        )

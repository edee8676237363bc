"""Classes that have moved: what a `_target_` in a configuration of one's own has to name instead."""

from typing import Any

from fast_style.errors import ConfigError

#: The old path of each class that configurations name, and the new one. See CHANGELOG.md.
MOVED = {
    "fast_style.styles.Style": "fast_style.losses.styles.Style",
    "fast_style.task.StyleTransferTask": "fast_style.training.task.StyleTransferTask",
    "fast_style.callbacks.StepProgress": "fast_style.training.callbacks.StepProgress",
    "fast_style.callbacks.Throughput": "fast_style.training.callbacks.Throughput",
    "fast_style.bad_pictures.BadPictures": "fast_style.training.callbacks.BadPictures",
    "fast_style.recovery.Recovery": "fast_style.training.recovery.Recovery",
    "fast_style.data.module.ContentData": "fast_style.data.datamodule.ContentData",
}


def require_present_name(key: str, target: Any) -> None:
    """Make sure that a class is not named by a path that it had before.

    Args:
        key: where the configuration names it.
        target: the dotted path.

    Raises:
        ConfigError: if the class has moved; the message names the new path.
    """
    if target in MOVED:
        raise ConfigError(f"{key}: {target} has moved; write {MOVED[target]}")

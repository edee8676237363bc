"""Classes that have moved: the old `_target_` paths and the new ones."""

from typing import Any

from fast_style.errors import ConfigError

#: Old dotted path -> new one; see CHANGELOG.md.
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
    """Refuse the class path at a configuration key if it has moved; ConfigError names the new path."""
    if target in MOVED:
        raise ConfigError(f"{key}: {target} has moved; write {MOVED[target]}")

"""Checkpoints of a training on disk: the newest whole one is always there, and a damaged one is told."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from fast_style.errors import CheckpointError
from fast_style.system.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes and reads checkpoints: the newest whole one is always there.

    Lightning's own way writes in $TMPDIR and moves; across file systems a kill or a full disk during the move
    leaves a torn file where a good one was.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            CheckpointError: if it cannot be written; an older file of that name is as it was.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            # torch.save hides the disk's answer in the error it was handling.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            kept = "; the one before is whole" if path.exists() else ""
            raise CheckpointError(f"{path}: cannot be written ({cause.strerror}){kept}; make room") from cause

    def load_checkpoint(self, path: str | Path, *args: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint. See `read_checkpoint`."""
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what a run needs to go on. No code in the file is ever run.

    Raises:
        CheckpointError: if the file is missing, damaged, or not written by a training.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # torch does not compare the checksums that it writes.
            if damaged := archive.testzip():
                raise CheckpointError(f"{path}: damaged ({damaged}); delete it to start again")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except CheckpointError:
        raise
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "not enough memory"
        raise CheckpointError(f"{path}: cannot be read ({reason}); mend that and try again") from None
    except Exception as error:  # Any: a damaged file can make these readers fail in many ways.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path}: damaged, or not a checkpoint of a training ({reason}); delete it to start again"
        ) from None
    if not (isinstance(checkpoint, dict) and {"global_step", "loops", "state_dict"} <= checkpoint.keys()):
        raise CheckpointError(f"{path}: not a checkpoint of a training; delete it to start again")
    return checkpoint

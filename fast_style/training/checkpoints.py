"""Checkpoint files of a training run: atomic writing, and reading that detects damage."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from fast_style.errors import CheckpointError
from fast_style.system.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, so that the newest complete one always exists.

    Lightning writes to $TMPDIR and moves the file; across file systems, a kill or a full disk during the move replaces
    a good checkpoint with an incomplete one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint atomically.

        Raises:
            CheckpointError: if it cannot be written; an existing file of that name is unchanged.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            # torch.save raises RuntimeError; the OSError is its context.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            kept = "; the one before is whole" if path.exists() else ""
            raise CheckpointError(f"{path}: cannot be written ({cause.strerror}){kept}; make room") from cause

    def load_checkpoint(self, path: str | Path, *args: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint. See `read_checkpoint`."""
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, without running any code in the file.

    Raises:
        CheckpointError: if the file is missing, damaged, or not a checkpoint of a training run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # torch writes checksums but does not verify them.
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
    except Exception as error:  # Any: damaged files raise many types of errors.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path}: damaged, or not a checkpoint of a training ({reason}); delete it to start again"
        ) from None
    if not (isinstance(checkpoint, dict) and {"global_step", "loops", "state_dict"} <= checkpoint.keys()):
        raise CheckpointError(f"{path}: not a checkpoint of a training; delete it to start again")
    return checkpoint

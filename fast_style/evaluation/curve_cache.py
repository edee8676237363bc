"""The optimizer's curves, kept in a folder of ours: minutes each, and the same for every network of a style."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch

from fast_style.evaluation.yardstick import LEARNING_RATE, STEPS, OnStep, Yardstick
from fast_style.system.cache import cache_folder, keep
from fast_style.types import Images

#: Raised when what a curve means changes.
FORMAT = 1


def kept_curve(
    yardstick: Yardstick,
    photograph: Images,
    steps: int = STEPS,
    lr: float = LEARNING_RATE,
    on_step: OnStep | None = None,
) -> list[float]:
    """Return what `yardstick.curve` returns, from the folder if it is there.

    A kept curve is named by digests of all that went into it: the pictures, the weights of the loss network, the
    settings. The code has no part in the name; instead the loss must still be what it was, to a thousandth, of the
    photograph and of its mirror image.

    Raises:
        TrainingError: if the loss is no longer finite.
    """
    path = cache_folder() / "curves" / f"{_name(yardstick, photograph, steps, lr)}.json"
    probe = [yardstick.losses(photograph, output)["total"] for output in (photograph, photograph.flip(3))]
    curve = _kept(path, probe, steps)
    if curve is not None:
        return curve
    curve = yardstick.curve(photograph, steps, lr, on_step)
    keep(path, json.dumps({"format": FORMAT, "probe": probe, "losses": curve}).encode(), "optimizes")
    return curve


def _name(yardstick: Yardstick, photograph: Images, steps: int, lr: float) -> str:
    settings = {**yardstick.settings, "format": FORMAT, "steps": steps, "lr": lr}
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for tensor in (photograph, yardstick.style.read()):
        found.update(f"{tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    for name, weight in yardstick.weights.items():
        found.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        found.update(weight.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _kept(path: Path, probe: list[float], steps: int) -> list[float] | None:
    try:
        kept: dict[str, Any] = json.loads(path.read_bytes())
        pairs = list(zip(kept["probe"], probe, strict=True))
        curve = [float(loss) for loss in kept["losses"]]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    whole = len(curve) == steps + 1 and all(map(math.isfinite, curve))
    return curve if whole and all(math.isclose(*pair, rel_tol=1e-3) for pair in pairs) else None

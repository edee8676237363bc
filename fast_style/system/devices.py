"""Device and precision for torch."""

from collections.abc import Mapping
from textwrap import shorten
from typing import TYPE_CHECKING

from fast_style.errors import ConfigError

if TYPE_CHECKING:
    import torch

#: Choices of precision. `auto`: bf16 where the hardware supports it natively, else fp32.
PRECISIONS = ("auto", "fp32", "bf16")


def usable_device(device: "str | torch.device | None" = None) -> "torch.device":
    """Return a torch device after allocating a tensor on it.

    Args:
        device: the device; None: a CUDA or ROCm GPU if there is one, else the CPU.

    Raises:
        ConfigError: if the device cannot be used.
    """
    import torch

    wanted = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(wanted)
        torch.empty(1, device=found)
    # Any: torch raises RuntimeError, AssertionError and others, some with messages of several lines.
    except Exception as error:
        reason = shorten(str(error).partition("\n")[0] or type(error).__name__, 100, placeholder=" ...")
        raise ConfigError(f"device={wanted} cannot be used here ({reason}); use cpu") from None
    return found


def torch_computes_bfloat16(device: str = "auto") -> bool:
    """Return whether a device (cpu, cuda, auto, ...) supports bfloat16 natively, according to torch."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu" and torch.backends.mps.is_available():
        return False
    # Older versions of torch lack this function.
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))

"""Which precision suits the hardware."""

from collections.abc import Mapping

#: What one may ask for. `auto`: bf16 where the hardware computes in it, else fp32.
PRECISIONS = ("auto", "fp32", "bf16")


def torch_computes_bfloat16(device: str = "auto") -> bool:
    """Return whether a device (cpu, cuda, auto, ...) computes in bfloat16 itself, to go by what torch knows of it."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu" and torch.backends.mps.is_available():
        return False
    # Older versions of torch do not tell.
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))

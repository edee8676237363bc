"""Where torch computes."""

from textwrap import shorten

import torch

from fast_style.errors import ConfigError


def usable_device(device: "str | torch.device | None" = None) -> torch.device:
    """Return a device on which something has been put just now; by default a GPU of NVIDIA's or AMD's if there is one.

    Raises:
        ConfigError: if there is no such device here.
    """
    wanted = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(wanted)
        torch.empty(1, device=found)
    # Any: torch raises RuntimeError, AssertionError and more, and some of it over several lines.
    except Exception as error:
        reason = shorten(str(error).partition("\n")[0] or type(error).__name__, 100, placeholder=" ...")
        raise ConfigError(f"device={wanted} cannot be used here ({reason}); use cpu") from None
    return found

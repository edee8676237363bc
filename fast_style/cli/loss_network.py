"""The loss network of commands that do not train."""

import torch
from omegaconf import DictConfig

from fast_style.cli.hydra_app import build
from fast_style.encoders.encoder import Encoder
from fast_style.errors import ConfigError, require_choice
from fast_style.system.devices import usable_device

#: Lightning's names.
_PRECISIONS = ("bf16-mixed", "32-true")


def loss_network(config: DictConfig) -> tuple[Encoder, torch.device]:
    """Build the encoder of the settings `encoder`, `device` and `precision`; return it and the device."""
    require_choice("precision", config.precision, _PRECISIONS)
    try:
        device = usable_device(None if config.device in (None, "auto") else str(config.device))
    except ConfigError as error:
        raise ConfigError(f"{error}, or auto") from None
    encoder: Encoder = build(config.encoder).to(device)
    return encoder.to(torch.bfloat16) if config.precision == "bf16-mixed" else encoder, device

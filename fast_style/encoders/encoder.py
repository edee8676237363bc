"""The base class of loss networks."""

from abc import ABC, abstractmethod
from collections.abc import Collection

from torch import nn

from fast_style.errors import ConfigError
from fast_style.types import Features, Images


class Encoder(nn.Module, ABC):
    """A loss network: frozen, from RGB in [0, 1] to the activations of named layers."""

    @property
    @abstractmethod
    def layers(self) -> list[str]:
        """The names of all layers, in order."""

    def check(self, layers: Collection[str]) -> None:
        """Check that the layers exist.

        Raises:
            ConfigError: if one does not.
        """
        unknown = [layer for layer in layers if layer not in self.layers]
        if unknown:
            raise ConfigError(f"{type(self).__name__} has no layer {unknown[0]}; it has {', '.join(self.layers)}")

    @abstractmethod
    def forward(self, images: Images, layers: Collection[str]) -> Features:
        """Return the activations of `layers` by name, each of shape (batch, channels, height, width)."""

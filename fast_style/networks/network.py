"""What every image transformation network promises."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from fast_style.errors import ConfigError
from fast_style.types import Images, StyleWeights


class TransformNet(nn.Module, ABC):
    """An image transformation network: a picture and its style weights in, the stylized picture out.

    Attributes:
        arguments: what the constructor was given, whole numbers; a saved network is rebuilt from it.
        earlier: arguments that the first networks of the class did not have, and what stands for them in their files.
    """

    earlier: ClassVar[Mapping[str, int]] = {}

    def __init__(self, **arguments: int) -> None:
        super().__init__()
        for name, value in arguments.items():
            # The bound keeps a damaged or hostile network file from asking for all the memory there is.
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 4096:
                raise ConfigError(f"{name} must be a whole number from 1 to 4096, not {value!r}")
        self.arguments = arguments

    @property
    def styles(self) -> int:
        """How many styles the network knows."""
        return self.arguments["styles"]

    @abstractmethod
    def forward(self, images: Images, style: StyleWeights) -> Images:
        """Stylize each picture by its row of style weights, at the same height and width."""

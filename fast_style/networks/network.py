"""The base class of image transformation networks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from fast_style.errors import ConfigError
from fast_style.types import Images, StyleWeights


class TransformNet(nn.Module, ABC):
    """An image transformation network: images and style weights in, stylized images out.

    Attributes:
        arguments: arguments of the constructor, whole numbers; a saved network is rebuilt from them.
        added_arguments: arguments that the first files of the class do not have, with the values that those stand for.

    Example:
        >>> class Brighter(TransformNet):
        ...     def __init__(self, styles: int = 1) -> None:
        ...         super().__init__(styles=styles)
        ...
        ...     def forward(self, images, style):
        ...         return (images + 0.1).clamp(0, 1)
        >>> Brighter(styles=2).arguments
        {'styles': 2}
    """

    added_arguments: ClassVar[Mapping[str, int]] = {}

    def __init__(self, **arguments: int) -> None:
        super().__init__()
        for name, value in arguments.items():
            # The bound keeps a damaged or hostile network file from allocating all memory.
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 4096:
                raise ConfigError(f"{name} must be a whole number from 1 to 4096, not {value!r}")
        self.arguments = arguments

    @property
    def styles(self) -> int:
        """Number of styles."""
        return self.arguments["styles"]

    @abstractmethod
    def forward(self, images: Images, style: StyleWeights) -> Images:
        """Stylize each image by its row of style weights, at the same height and width."""

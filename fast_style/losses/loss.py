"""What a loss sees, and what it promises."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from fast_style.encoders.encoder import Encoder
from fast_style.errors import ConfigError
from fast_style.losses.styles import Style
from fast_style.types import Features, Images, StyleWeights


@dataclass(frozen=True)
class Stylization:
    """One batch of pictures, stylized, and all that is known of it.

    Attributes:
        content: the pictures as they were.
        output: the pictures as they are now.
        style: the style weights of each.
        content_features: of `content`, at the layers that any loss asked for. Without gradient.
        output_features: likewise of `output`.
    """

    content: Images
    output: Images
    style: StyleWeights
    content_features: Features
    output_features: Features


class Loss(nn.Module, ABC):
    """A function of one Stylization: a scalar, averaged over the batch, computed in float32.

    Attributes:
        weight: how much the loss counts in the total.
        content_layers, output_layers: the layers it needs of the pictures before and after.
    """

    content_layers: tuple[str, ...] = ()
    output_layers: tuple[str, ...] = ()

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not weight >= 0:
            raise ConfigError(f"weight must not be negative, not {weight}")
        self.weight = weight

    def prepare(self, encoder: Encoder, styles: Sequence[Style]) -> None:
        """Measure once, before the first call, what the loss has to know of the styles."""

    def contributions(self, stylization: Stylization) -> dict[str, Float[Tensor, " batch"]]:
        """Return what each layer adds to the loss of each picture; nothing from a loss that sees no layers."""
        return {}

    @abstractmethod
    def forward(self, stylization: Stylization) -> Float[Tensor, ""]:
        """Return the loss, before its weight."""

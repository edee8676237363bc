"""Loss, the base class of all losses, and Stylization, the record that each takes."""

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
    """One batch of photographs, stylized, with what the loss network sees of them.

    Attributes:
        content: the photographs, shape (batch, 3, height, width), in [0, 1].
        output: the stylized pictures, of the same shape.
        style: the style weights, shape (batch, styles), rows that sum to 1.
        content_features: activations of `content` by layer, for all layers that a loss needs. Without gradient.
        output_features: activations of `output`, likewise, with gradient.
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
        content_layers: the layers it needs of the photographs.
        output_layers: those it needs of the stylized pictures.
    """

    content_layers: tuple[str, ...] = ()
    output_layers: tuple[str, ...] = ()

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not weight >= 0:
            raise ConfigError(f"weight must not be negative, not {weight}")
        self.weight = weight

    def prepare(self, encoder: Encoder, styles: Sequence[Style]) -> None:
        """Measure what the loss needs of the styles, once, before the first call."""

    def contributions(self, stylization: Stylization) -> dict[str, Float[Tensor, " batch"]]:
        """Return what each layer adds to the loss of each picture; nothing from a loss that sees no layers."""
        return {}

    @abstractmethod
    def forward(self, stylization: Stylization) -> Float[Tensor, ""]:
        """Return the loss, before its weight."""

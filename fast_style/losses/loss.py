"""Loss, the base class of all losses, and Stylization and Moved, their argument."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from fast_style.encoders.encoder import Encoder
from fast_style.errors import ConfigError
from fast_style.losses.motion import Motion
from fast_style.losses.styles import Style
from fast_style.types import Features, Images, StyleWeights


@dataclass(frozen=True)
class Moved:
    """The photographs a moment later, as in the next frame of a film.

    Attributes:
        content: the moved photographs, shape (batch, 3, rows, columns), in [0, 1].
        output: the moved photographs, stylized.
        origins: where each of their pixels was, shape (batch, rows, columns, 2), in the coordinates of `grid_sample`.
        visible: whether the two can be compared there, shape (batch, rows, columns).
    """

    content: Images
    output: Images
    origins: Float[Tensor, "batch rows columns 2"]
    visible: Bool[Tensor, "batch rows columns"]


@dataclass(frozen=True)
class Stylization:
    """A batch of photographs, their stylized images, and the activations of the loss network.

    Attributes:
        content: the photographs, shape (batch, 3, height, width), in [0, 1].
        output: the stylized images, same shape.
        style: the style weights, shape (batch, styles), rows that sum to 1.
        content_features: activations of `content` for all layers that a loss needs, by layer. Without gradient.
        output_features: likewise for `output`, with gradient.
        moved: the photographs a moment later; None where no loss compares the two.

    Example:
        >>> images = torch.rand(2, 3, 32, 32)
        >>> Stylization(images, 1 - images, torch.ones(2, 1), {}, {}).output.shape
        torch.Size([2, 3, 32, 32])
    """

    content: Images
    output: Images
    style: StyleWeights
    content_features: Features
    output_features: Features
    moved: Moved | None = None


class Loss(nn.Module, ABC):
    """A function of one Stylization: a scalar, averaged over the batch, computed in float32.

    Attributes:
        weight: weight of the loss in the total.
        content_layers: layers of the photographs that it needs.
        output_layers: layers of the stylized images that it needs.
        motion: how photographs move to `Stylization.moved`, which the loss compares; None: it compares none.

    Example:
        >>> class Darker(Loss):
        ...     def forward(self, stylization):
        ...         return stylization.output.float().mean()
        >>> white = torch.ones(1, 3, 8, 8)
        >>> Darker(weight=1.0)(Stylization(white, white, torch.ones(1, 1), {}, {})).item()
        1.0
    """

    content_layers: tuple[str, ...] = ()
    output_layers: tuple[str, ...] = ()
    motion: Motion | None = None

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not weight >= 0:
            raise ConfigError(f"weight must not be negative, not {weight}")
        self.weight = weight

    def prepare(self, encoder: Encoder, styles: Sequence[Style]) -> None:
        """Compute what the loss needs of the styles; called once, before the first call."""

    def contributions(self, stylization: Stylization) -> dict[str, Float[Tensor, " batch"]]:
        """Return each layer's contribution to the loss of each image; empty for a loss without layers."""
        return {}

    @abstractmethod
    def forward(self, stylization: Stylization) -> Float[Tensor, ""]:
        """Return the loss, before its weight."""

"""Content loss: keeps what the photograph shows."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from fast_style.errors import ConfigError, require_choice
from fast_style.losses.loss import Loss, Stylization

ContentNormalization = Literal["relative", "mean", "half_sum"]


class ContentLoss(Loss):
    """Squared distance between the activations of the output and of the content image, averaged over the layers.

    Args:
        weight: weight of the loss in the total.
        layers: the layers to compare.
        normalization: divisor of the squared distance between the activations of an image:
            `relative`: the squared norm of the content's activations; 1 is the distance of zero activations.
            `mean`: the number of activations. Johnson, Alahi & Fei-Fei 2016, https://arxiv.org/abs/1603.08155,
            equation 2.
            `half_sum`: 2. Gatys, Ecker & Bethge 2015, https://arxiv.org/abs/1508.06576, equation 1.

    Example:
        >>> images, features = torch.rand(1, 3, 32, 32), {"relu4_1": torch.rand(1, 512, 4, 4)}
        >>> ContentLoss()(Stylization(images, images, torch.ones(1, 1), features, features)).item()
        0.0
    """

    def __init__(
        self,
        weight: float = 1.0,
        layers: Sequence[str] = ("relu4_1",),
        normalization: ContentNormalization = "relative",
    ) -> None:
        super().__init__(weight)
        require_choice("normalization", normalization, get_args(ContentNormalization))
        if not layers:
            raise ConfigError("layers must name at least one layer")
        self.content_layers = self.output_layers = tuple(layers)
        self.normalization = normalization

    def contributions(self, stylization: Stylization) -> dict[str, Float[Tensor, " batch"]]:
        """See Loss."""
        distances = {}
        for layer in self.output_layers:
            target = stylization.content_features[layer].float()
            output = stylization.output_features[layer].float()
            squared = (output - target).square().sum(dim=(1, 2, 3))
            if self.normalization == "relative":
                squared = squared / target.square().sum(dim=(1, 2, 3)).clamp_min(1e-8)
            elif self.normalization == "mean":
                squared = squared / target[0].numel()
            else:
                squared = squared / 2
            distances[layer] = squared / len(self.output_layers)
        return distances

    def forward(self, stylization: Stylization) -> Float[Tensor, ""]:
        """Return the mean over layers and images."""
        return torch.stack(list(self.contributions(stylization).values())).sum(dim=0).mean()

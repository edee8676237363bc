"""PerceptualLoss: several losses on features that are computed once per image."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fast_style.encoders.encoder import Encoder
from fast_style.errors import ConfigError
from fast_style.losses.loss import Loss, Moved, Stylization
from fast_style.losses.motion import Motion
from fast_style.losses.styles import Style
from fast_style.types import Features, Images, StyleWeights


class PerceptualLoss(nn.Module):
    """Named losses on the features of one loss network, computed once per image.

    Johnson, Alahi & Fei-Fei 2016, section 3, https://arxiv.org/abs/1603.08155.

    Args:
        encoder: the loss network.
        losses: the terms, by name. A term of weight 0 is left out, and costs nothing.
        styles: the styles, in the order of the style weights.

    Raises:
        ImageError: if a style's image cannot be read.
        ConfigError: if no term has a weight, a layer does not exist, or two styles have the same name.

    Example:
        >>> from fast_style.encoders import VGGEncoder
        >>> from fast_style.losses import ContentLoss, TotalVariationLoss
        >>> losses = {"content": ContentLoss(layers=["relu2_1"]), "total_variation": TotalVariationLoss(0.1)}
        >>> loss = PerceptualLoss(VGGEncoder("vgg19"), losses, [])
        >>> images = torch.rand(1, 3, 32, 32)
        >>> sorted(loss(images, 1 - images, torch.ones(1, 1)))
        ['content', 'total_variation']
    """

    def __init__(self, encoder: Encoder, losses: Mapping[str, Loss], styles: Sequence[Style]) -> None:
        super().__init__()
        names = [style.name for style in styles]
        if duplicates := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"two styles are called {duplicates[0]}; give each a name of its own")
        self.encoder = encoder
        self.losses = nn.ModuleDict({name: loss for name, loss in losses.items() if loss.weight > 0})
        if not self.losses:
            raise ConfigError("no loss has a weight above 0: there is nothing to learn")
        for loss in self.terms.values():
            loss.prepare(encoder, styles)
        self.content_layers = {layer for loss in self.terms.values() for layer in loss.content_layers}
        self.output_layers = {layer for loss in self.terms.values() for layer in loss.output_layers}
        encoder.check(self.content_layers | self.output_layers)

    @property
    def terms(self) -> dict[str, Loss]:
        """The active losses, by name."""
        return {name: loss for name, loss in self.losses.items() if isinstance(loss, Loss)}

    @property
    def motion(self) -> Motion | None:
        """How the photographs move whose outputs a term compares; None: no term does."""
        return next((loss.motion for loss in self.terms.values() if loss.motion is not None), None)

    def forward(
        self,
        content: Images,
        output: Images,
        style: StyleWeights,
        content_features: Features | None = None,
        moved: Moved | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return every term, unweighted. Features of an unchanged content can be passed in, to save time."""
        # Autocast would round the Gram matrices to half precision; the encoder has its own dtype.
        with torch.autocast(content.device.type, enabled=False):
            stylization = replace(self.stylization(content, output, style, content_features), moved=moved)
            return {name: loss(stylization) for name, loss in self.terms.items()}

    def stylization(
        self, content: Images, output: Images, style: StyleWeights, content_features: Features | None = None
    ) -> Stylization:
        """Return the input of the terms. Must be called without autocast."""
        if content_features is None:
            content_features = self.content_features(content)
        output_features = self.encoder(output.float(), self.output_layers)
        return Stylization(content, output, style, content_features, output_features)

    @torch.no_grad()
    def content_features(self, content: Images) -> Features:
        """Return the features of the content that the terms need."""
        features: Features = self.encoder(content, self.content_layers)
        return features

    def total(self, terms: Mapping[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """Return the weighted sum of the terms."""
        return torch.stack([self.terms[name].weight * term for name, term in terms.items()]).sum()

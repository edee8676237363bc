"""Style loss: matches the textures of the output to those of the painting."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from fast_style.encoders.encoder import Encoder
from fast_style.errors import ConfigError, require_choice
from fast_style.losses.loss import Loss, Stylization
from fast_style.losses.styles import Style

StyleNormalization = Literal["relative", "mean", "quarter_mean"]


def gram_matrix(features: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels channels"]:
    """Mean product of each pair of channels over all positions, in float32.

    Gatys, Ecker & Bethge 2015, https://arxiv.org/abs/1508.06576, equation 3. They sum over positions; we average, so
    that images of different sizes are comparable.
    """
    gram: Tensor = _Gram.apply(features)
    return gram


class _Gram(torch.autograd.Function):
    """Mean over positions of the products of all pairs of channels, with a fast backward.

    Autograd would copy the features, and multiply them by the gradient and by its transpose separately. bfloat16
    features are multiplied without conversion, which is exact, and summed in float32 within and between runs of
    positions. Only the sum of a run is rounded to bfloat16: an error of 1e-4 to 4e-4 of the matrix, a tenth of the
    error from rounding the features themselves.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor) -> Tensor:
        # Caffe-scale activations reach 11,600, and their products overflow float16.
        features = features.float() if features.dtype == torch.float16 else features
        ctx.save_for_backward(features)
        flat = features.permute(0, 2, 3, 1).flatten(1, 2)
        batch, area, channels = flat.shape
        run = 256 if features.dtype == torch.bfloat16 else area
        # Zero padding of the last run adds nothing to the sums; it is skipped if not needed, because it copies.
        runs = (F.pad(flat, (0, 0, 0, -area % run)) if area % run else flat).reshape(-1, run, channels)
        sums = torch.bmm(runs.transpose(1, 2), runs).view(batch, -1, channels, channels)
        gram: Tensor = sums.sum(dim=1, dtype=torch.promote_types(features.dtype, torch.float32)) / area
        return gram

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        batch, channels, height, width = features.shape
        symmetric = (gradient + gradient.transpose(1, 2)) / (height * width)
        flat = features.permute(0, 2, 3, 1).flatten(1, 2)
        return torch.bmm(flat, symmetric.to(flat.dtype)).view(batch, height, width, channels).permute(0, 3, 1, 2)


class StyleLoss(Loss):
    """Squared distance between the Gram matrices of the output and of the style image.

    Layers are weighted by each style, or by `layers` for all styles.

    Args:
        weight: weight of the loss in the total.
        layers: weight of each layer, in place of the styles' own.
        normalization: divisor of the squared distance between two averaged Gram matrices of C channels, and how layers
            add up:
            `relative`: the squared norm of the style's Gram matrix; a weighted mean over the layers. 1 is the
            distance of a blank image, whatever the layer, the style or the loss network.
            `mean`: C squared; a weighted sum. Johnson, Alahi & Fei-Fei 2016, https://arxiv.org/abs/1603.08155,
            equation 4, where dividing the Gram matrix by C is equivalent.
            `quarter_mean`: 4 times C squared; a weighted sum. Gatys, Ecker & Bethge 2015, equations 4 and 5.

    Example:
        >>> loss = StyleLoss(weight=25, layers={"relu1_1": 1.0, "relu3_1": 0.5})
        >>> loss.weight, loss.normalization
        (25, 'relative')
    """

    def __init__(
        self,
        weight: float = 10.0,
        layers: Mapping[str, float] | None = None,
        normalization: StyleNormalization = "relative",
    ) -> None:
        super().__init__(weight)
        require_choice("normalization", normalization, get_args(StyleNormalization))
        if layers and not (min(layers.values()) >= 0 and max(layers.values()) > 0):
            raise ConfigError(f"layers must not be negative, and at least one must be above 0: {dict(layers)}")
        self.layers = layers
        self.normalization = normalization

    def prepare(self, encoder: Encoder, styles: Sequence[Style]) -> None:
        """Compute the Gram matrices of each style image.

        Raises:
            ImageError: if a style image cannot be read.
            ConfigError: if a style weighs a layer that the encoder does not have.
        """
        weights = [dict(self.layers or style.layers) for style in styles]
        used = {layer for row in weights for layer, weight in row.items() if weight > 0}
        unknown = used.difference(encoder.layers)
        self.output_layers = (*sorted(unknown), *(layer for layer in encoder.layers if layer in used))
        device = next(encoder.parameters()).device
        with torch.no_grad():
            pictures = [encoder(style.read().to(device), self.output_layers) for style in styles]
        for layer in self.output_layers:
            grams = torch.cat([gram_matrix(features[layer]) for features in pictures])
            # Not persistent: recomputed, so that checkpoints stay small.
            self.register_buffer(f"gram_{layer}", grams, persistent=False)
        # Weights may be given as whole numbers.
        rows = [[row.get(layer, 0.0) for layer in self.output_layers] for row in weights]
        table = torch.tensor(rows, dtype=torch.float32)
        self.register_buffer("layer_weights", table.to(device), persistent=False)

    def contributions(self, stylization: Stylization) -> dict[str, Float[Tensor, " batch"]]:
        """See Loss. The target of a blend of styles is the blend of their Gram matrices."""
        weights = stylization.style @ self.get_buffer("layer_weights")
        if self.normalization == "relative":
            weights = weights / weights.sum(dim=1, keepdim=True)
        distances = {}
        for layer, weight in zip(self.output_layers, weights.T, strict=True):
            gram = gram_matrix(stylization.output_features[layer])
            target = torch.einsum("bs,scd->bcd", stylization.style, self.get_buffer(f"gram_{layer}"))
            squared = (gram - target).square().sum(dim=(1, 2))
            if self.normalization == "relative":
                squared = squared / target.square().sum(dim=(1, 2)).clamp_min(1e-8)
            elif self.normalization == "mean":
                squared = squared / gram.shape[1] ** 2
            else:
                squared = squared / (4 * gram.shape[1] ** 2)
            distances[layer] = squared * weight
        return distances

    def forward(self, stylization: Stylization) -> Float[Tensor, ""]:
        """Return the mean over images."""
        return torch.stack(list(self.contributions(stylization).values())).sum(dim=0).mean()

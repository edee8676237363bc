"""Total variation loss: penalizes noise."""

from jaxtyping import Float
from torch import Tensor

from fast_style.losses.loss import Loss, Stylization


class TotalVariationLoss(Loss):
    """Mean squared difference between neighboring pixels: smoother output, less noise.

    Johnson, Alahi & Fei-Fei 2016, section 3.2, https://arxiv.org/abs/1603.08155.
    They sum; we average, so that one weight serves every image size.

    Args:
        weight: weight of the loss in the total.

    Example:
        >>> flat = torch.full((1, 3, 8, 8), 0.5)
        >>> TotalVariationLoss()(Stylization(flat, flat, torch.ones(1, 1), {}, {})).item()
        0.0
    """

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__(weight)

    def forward(self, stylization: Stylization) -> Float[Tensor, ""]:
        """Return the mean over rows plus the mean over columns."""
        output = stylization.output.float()
        return output.diff(dim=2).square().mean() + output.diff(dim=3).square().mean()

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
    """

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__(weight)

    def forward(self, stylization: Stylization) -> Float[Tensor, ""]:
        """Return the mean over rows plus the mean over columns."""
        output = stylization.output.float()
        return output.diff(dim=2).square().mean() + output.diff(dim=3).square().mean()

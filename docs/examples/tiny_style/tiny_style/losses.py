"""A loss that keeps colors as strong as they were."""

from torch import Tensor

from fast_style.losses import Loss, Stylization


class SaturationLoss(Loss):
    """Squared difference of the mean saturation of the stylized picture from that of the photograph.

    Args:
        weight: how much the loss counts in the total.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)

    def forward(self, stylization: Stylization) -> Tensor:
        """Return the mean over the batch."""
        before, after = (_saturation(images.float()) for images in (stylization.content, stylization.output))
        return (after - before).square().mean()


def _saturation(images: Tensor) -> Tensor:
    return (images.amax(dim=1) - images.amin(dim=1)).mean(dim=(1, 2))

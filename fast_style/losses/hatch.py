"""Hatch loss: penalizes repeated strokes where the photograph is flat."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fast_style.errors import ConfigError
from fast_style.losses.loss import Loss, Stylization
from fast_style.types import Images

#: Period of the stripes that a difference of two Gaussians passes best, in standard deviations of the narrower one: the
#: peak of exp(-w^2 / 2) - exp(-2 w^2) is at w^2 = 4 ln(2) / 3.
_PEAK = 2 * math.pi / math.sqrt(4 * math.log(2) / 3)


class HatchLoss(Loss):
    """Energy of the output at one scale where the photograph has no detail of that scale.

    Where a photograph is flat, some networks repeat one stroke side by side. Style losses do not prevent that, because
    they measure how frequent strokes are, not where. The energy is that of a difference of Gaussians, one twice as wide
    as the other (Marr & Hildreth 1980, https://doi.org/10.1098/rspb.1980.0020). It is applied to brightness and to two
    color differences, because the hatching may be in color alone.

    The loss also removes other shapes of that scale from flat areas. Use it for paintings of flat planes, and for a
    network that shows the fault.

    Args:
        weight: weight of the loss in the total.
        period: period of the stripes in pixels.
        detail: root mean square of the photograph's own detail at that scale, relative to the full range of a pixel, at
            which a position counts a quarter.

    Example:
        >>> flat = torch.full((1, 3, 96, 96), 0.5)
        >>> stripes = flat + 0.1 * torch.sin(torch.arange(96) * 2 * torch.pi / 9)
        >>> HatchLoss()(Stylization(flat, stripes, torch.ones(1, 1), {}, {})).item() > 1e-4
        True
    """

    def __init__(self, weight: float = 300.0, period: float = 9.0, detail: float = 0.005) -> None:
        super().__init__(weight)
        if not period >= 4:
            raise ConfigError(f"period must be at least 4 pixels, not {period}")
        if not detail > 0:
            raise ConfigError(f"detail must be above 0, not {detail}")
        self.period = period
        self.detail = detail

    def forward(self, stylization: Stylization) -> Float[Tensor, ""]:
        """Return the mean over channels, positions and images."""
        with torch.no_grad():
            detail = self._band(stylization.content.float()).square().mean(dim=1, keepdim=True)
            flat = (1 + _blurred(detail, self.period) / self.detail**2) ** -2
        red, green, blue = stylization.output.float().unbind(dim=1)
        opponents = torch.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], dim=1)
        return (flat * self._band(opponents).square()).mean()

    def _band(self, images: Images) -> Images:
        narrow = self.period / _PEAK
        return _blurred(images, narrow) - _blurred(images, 2 * narrow)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Blur images by a Gaussian, with replication padding.

    torchvision's gaussian_blur pads by reflection, and fails on images smaller than its kernel.
    """
    radius, channels = math.ceil(2.5 * sigma), images.shape[1]
    places = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-((places / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum()).expand(channels, 1, 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel, groups=channels)
    return F.conv2d(rows, kernel.transpose(2, 3), groups=channels)

"""Temporal loss: strokes move with what they depict, and hold still with it."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fast_style.losses.loss import Loss, Stylization
from fast_style.losses.motion import Motion, carry
from fast_style.types import Images

#: Side of the squares in pixels whose mean is subtracted: what remains is strokes.
_STROKE = 9
#: Energy of a painting's strokes from which its networks flicker visibly: below 25 dB of stillness.
FLICKERS = 0.0095


class TemporalLoss(Loss):
    """Squared difference between the output for a moved picture and the output that moved along, relative to strokes.

    Gupta, Johnson, Alahi & Fei-Fei 2017, https://arxiv.org/abs/1705.02092, equation 3.
    Departures: the second picture is the first one moved, not the next frame of a film, so that the map between them is
    exact (see Motion). The difference is divided by the energy of the strokes, because a network lowers theirs by
    painting paler and softer strokes: 2 is the distance of strokes that have nothing to do with each other.

    Args:
        weight: weight of the loss in the total.
        distance: largest shift between the two pictures, in whole pixels.
        noise: largest standard deviation of the noise in the moved picture, relative to the range of a pixel.

    Example:
        >>> from fast_style.losses import Moved
        >>> from fast_style.losses.motion import Motion
        >>> picture, still = torch.rand(1, 3, 48, 48), Motion(distance=0, noise=0)
        >>> moved = Moved(picture, 1 - picture, *still(picture, seeds=[0])[1:])
        >>> TemporalLoss()(Stylization(picture, 1 - picture, torch.ones(1, 1), {}, {}, moved)).item() < 1e-8
        True
    """

    def __init__(self, weight: float = 0.3, distance: int = 8, noise: float = 0.02) -> None:
        super().__init__(weight)
        self.motion = Motion(distance, noise)

    def forward(self, stylization: Stylization) -> Float[Tensor, ""]:
        """Return the mean over the pictures, by the pixels that both show; 0 without a second picture."""
        moved = stylization.moved
        if moved is None:
            return stylization.output.new_zeros((), dtype=torch.float32)
        output, carried = moved.output.float(), carry(stylization.output, moved.origins)
        visible = moved.visible[:, None]
        difference, first, second = (
            (each * visible).square().sum(dim=(1, 2, 3))
            for each in (output - carried, _strokes(output), _strokes(carried))
        )
        return (difference / ((first + second) / 2).clamp_min(1e-8)).mean()


def stroke_energy(painting: Images) -> float:
    """Return the mean square of a painting's strokes, which predicts how much its networks flicker.

    Gupta et al. 2017, section 3.1, predict it by the trace of the style's Gram matrix. Over twelve networks, rank
    correlation with the measured stillness is -0.92 for this, and -0.66 to -0.76 for the traces of VGG19's layers.

    Example:
        >>> stroke_energy(torch.full((1, 3, 32, 32), 0.5))
        0.0
    """
    return float(_strokes(painting.float()).square().mean())


def _strokes(images: Tensor) -> Tensor:
    """Return images without the mean of the square around each pixel."""
    return images - F.avg_pool2d(F.pad(images, (_STROKE // 2,) * 4, mode="replicate"), _STROKE, stride=1)

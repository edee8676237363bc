"""Losses, one file each; each is a function of one Stylization."""

from fast_style.losses.content import ContentLoss
from fast_style.losses.grid import GridLoss
from fast_style.losses.hatch import HatchLoss
from fast_style.losses.loss import Loss, Moved, Stylization
from fast_style.losses.perceptual import PerceptualLoss
from fast_style.losses.style import StyleLoss, gram_matrix
from fast_style.losses.temporal import TemporalLoss
from fast_style.losses.total_variation import TotalVariationLoss

__all__ = [
    "ContentLoss",
    "GridLoss",
    "HatchLoss",
    "Loss",
    "Moved",
    "PerceptualLoss",
    "StyleLoss",
    "Stylization",
    "TemporalLoss",
    "TotalVariationLoss",
    "gram_matrix",
]

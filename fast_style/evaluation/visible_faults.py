"""Visible faults of stylized images: one measure for each, and the value from which one sees it.

Each measure takes a batch in [0, 1] and returns one number for each image; 0: without the fault.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fast_style.types import Images

#: Above these, a fault is visible at full size. Good photographs and paintings stay below them; enlarged by some
#: factors, a picture has a faint mesh of its own.
VISIBLE = {"grid": 1.0, "dots": 20.0, "border": 12.0, "washed_out": 0.3, "clipped": 0.1}

Numbers = Float[Tensor, " batch"]


def grid(images: Images, periods: Sequence[int] = (2, 4, 8), window: int = 64) -> Numbers:
    """Root mean square of a mesh in levels of 255: the peaks of the spectrum at the upsampling frequencies.

    A network that upsamples by a factor leaves a pattern of that period, whose spectrum has lines at the multiples
    of 1/period (Odena, Dumoulin & Olah 2016, https://doi.org/10.23915/distill.00003). From the power at each line,
    averaged over overlapping windows, goes the power around it, which is the texture's own. The greatest of the
    periods counts: in their sum the texture around the slow lines could hide a faster mesh.

    Args:
        images: RGB, at least one window high and wide; smaller ones are judged in one window of all that there is,
            by the periods of which it holds eight.
        periods: of a mesh in pixels: the factors by which networks upsample, in a step or in all.
        window: side of a window in pixels, a multiple of the periods.
    """
    unit = max(periods)
    side = min(window, *(length // unit * unit for length in images.shape[2:]))
    found = torch.zeros(len(images), device=images.device)
    # Nearer to one another, lines would count as what is around them.
    seen = [period for period in periods if side >= 8 * period]
    if not seen:
        return found
    taper = torch.hann_window(side, device=images.device)
    taper = taper[:, None] * taper
    windows = images.float().unfold(2, side, side // 2).unfold(3, side, side // 2)
    windows = windows - windows.mean(dim=(4, 5), keepdim=True)
    # As amplitudes: a sine of amplitude a has a line of height a / 2 at either sign of its frequency.
    spectrum = torch.fft.fft2(windows * taper) / taper.sum()
    power = spectrum.abs().square().mean(dim=(1, 2, 3))
    excess = power - _around(power)
    # Of the mean, which is no mesh, nothing.
    excess[:, 0, 0] = 0
    for period in seen:
        step = side // period
        found = torch.maximum(found, 255 * excess[:, ::step, ::step].sum(dim=(1, 2)).clamp_min(0).sqrt())
    return found


def _around(power: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """The mean power beside each place: along its row or along its column, whichever has more.

    Edges in the picture that run along its sides have all their power in one row or column.
    """
    # The taper spreads a line over its neighbors; two further on begins what is the texture's.
    beside = [shift for distance in (2, 3, 4) for shift in (-distance, distance)]
    along = [torch.stack([power.roll(shift, axis) for shift in beside]).mean(dim=0) for axis in (1, 2)]
    return torch.maximum(*along)


def dots(images: Images, contrast: float = 0.3) -> Numbers:
    """Spots of up to eight pixels that differ from all that is around them, for each 100,000 pixels.

    A spot is lighter than every pixel of a ring around it in one of the channels, or darker, by more than `contrast`
    and by more than the pixels of the ring differ among themselves.
    Looked for in the picture and in its half, for widths of up to four pixels and eight; where there are more, counts.
    """
    found = torch.zeros(len(images), device=images.device)
    for reduced in (images, F.avg_pool2d(images, 2)):
        if min(reduced.shape[2:]) >= 11:
            found = torch.maximum(found, _spots(reduced.float(), contrast).flatten(1).sum(dim=1))
    return found * 100_000 / (images.shape[2] * images.shape[3])


def _spots(images: Images, contrast: float) -> Float[Tensor, "batch _height _width"]:
    """1 where a spot has its middle, over all places at least five pixels from the edge."""
    lightest, darkest = _ring_peak(images), -_ring_peak(-images)
    middle = images[:, :, 5:-5, 5:-5]
    excess = torch.maximum(middle - lightest, darkest - middle)
    excess = torch.where(excess > lightest - darkest, excess, 0).amax(dim=1)
    # By places, not by values: of a spot of one color the first pixel counts, not each.
    _, highest = F.max_pool2d(excess[:, None], 7, 1, padding=3, return_indices=True)
    own = torch.arange(excess[0].numel(), device=images.device).view(excess.shape[1:])
    return ((highest[:, 0] == own) & (excess > contrast)).float()


def _ring_peak(images: Images) -> Float[Tensor, "batch 3 _height _width"]:
    """The greatest value on the ring around each pixel, from 4 to 5 pixels away."""
    height, width = images.shape[2] - 10, images.shape[3] - 10
    flat, tall = F.max_pool2d(images, (2, 11), 1), F.max_pool2d(images, (11, 2), 1)
    sides = (flat[:, :, :height], flat[:, :, 9 : 9 + height], tall[..., :width], tall[..., 9 : 9 + width])
    return torch.stack(sides).amax(dim=0)


def border(images: Images, content: Images, frame: int = 8) -> Numbers:
    """How much more abruptly a picture ends at its edges than it changes inside, in levels of 255.

    Rings of one width, each within the last, have a mean and a standard deviation of each channel. What counts is the
    step from the outermost ring to the next, less the root mean square of the steps between the next five: the
    picture's own. It counts as far as both the picture has it and the change from `content` to it: a margin of the
    photograph's own is no fault, whether it is kept or taken away.

    Args:
        images: RGB. In small ones the rings are fewer, at least three, and narrower.
        content: the pictures that they were made from, of the same shape.
        frame: width of the rings in pixels.
    """
    images = images.float()
    return torch.minimum(_abruptness(images, frame), _abruptness(images - content.float(), frame))


def _abruptness(images: Images, frame: int) -> Numbers:
    least = min(images.shape[2:])
    frame = min(frame, least // 6)
    count = min(7, least // (2 * frame))
    rings = torch.stack([_ring(images, ring * frame, frame) for ring in range(count)])
    steps = rings.diff(dim=0).square().mean(dim=2)
    return 255 * (steps[0].sqrt() - steps[1:].mean(dim=0).sqrt()).clamp_min(0)


def _ring(images: Images, depth: int, frame: int) -> Float[Tensor, "batch 6"]:
    """The mean and the standard deviation of each channel along each of the four sides, averaged over these."""
    inner = images[:, :, depth : images.shape[2] - depth, depth : images.shape[3] - depth]
    sides = [inner[:, :, :frame], inner[:, :, -frame:], inner[..., :frame], inner[..., -frame:]]
    means = torch.stack([side.mean(dim=(2, 3)) for side in sides]).mean(dim=0)
    spreads = torch.stack([side.std(dim=(2, 3)) for side in sides]).mean(dim=0)
    return torch.cat([means, spreads], dim=1)


def washed_out(images: Images, content: Images, painting: Float[Tensor, "1 3 _height _width"]) -> Numbers:
    """How much of the spread of colors is missing, from 0 to 1.

    The spread is the root of the summed variances of the channels. What may be expected is the smaller of that of
    the pictures and that of the painting.

    Args:
        images: RGB.
        content: the pictures that they were made from.
        painting: the style's picture, a batch of one.
    """
    expected = torch.minimum(_color_spread(content), _color_spread(painting))
    return (1 - _color_spread(images) / expected.clamp_min(1e-6)).clamp_min(0)


def _color_spread(images: Images) -> Numbers:
    return images.float().flatten(2).var(dim=2).sum(dim=1).sqrt()


def clipped(images: Images) -> Numbers:
    """Part of the picture, from 0 to 1, that has lost its detail at the end of a channel's range.

    A value counts where it and its eight neighbors are within half a level of 0, or of 255; averaged over channels.
    """
    least, greatest = -F.max_pool2d(-images.float(), 3, 1), F.max_pool2d(images.float(), 3, 1)
    flat = (greatest < 0.5 / 255) | (least > 254.5 / 255)
    return flat.float().mean(dim=(1, 2, 3))
